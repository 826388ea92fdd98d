#!/usr/bin/env bash
# The usual SSE loop over aiohttp is `async for line in response.content`. One expects a long line (a snapshot
# of the text so far, a large tool call) to arrive like a short one, as it does with httpx and requests. aiohttp
# 3.14.5 raises LineTooLong ("400 ... Got more than 524288 bytes") for a line above 512 KiB, so a reader that
# has followed for hours breaks at the first long event; aiosseclient 0.1.8, which is built on it, does too.
# Pass `read_bufsize` to the session, or read chunks and cut the lines oneself.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" aiohttp==3.14.5 aiosseclient==0.1.8 httpx==0.28.1 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import http.server, json, sys, threading


def serve(pieces, cut=False, kind="text/event-stream"):
    """An upstream that answers every POST and GET with these pieces; `cut` leaves out the end of the body."""

    class Stub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                piece = piece.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            if not cut:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        do_GET = do_POST

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def event(value, name=None):
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value)}\n\n"

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import asyncio

import aiohttp
import aiosseclient
import httpx


async def by_aiohttp(url, **more):
    async with aiohttp.ClientSession(**more) as session, session.get(url) as answer:
        try:
            return max([len(line) async for line in answer.content]) // 1024
        except Exception as error:
            return type(error).__name__


async def by_aiosseclient(url):
    try:
        async for message in aiosseclient.aiosseclient(url):
            return len(message.data) // 1024
    except Exception as error:
        return type(error).__name__


def by_httpx(url):
    with httpx.stream("GET", url) as answer:
        return max(len(line) for line in answer.iter_lines()) // 1024


http.server.ThreadingHTTPServer.handle_error = lambda *_: None  # the reader leaves early
small, large = (serve(["data: " + "x" * (kib * 1024) + "\n\n"]) for kib in (400, 700))
print("aiohttp", aiohttp.__version__, "httpx", httpx.__version__, "aiosseclient 0.1.8")
verdict("400 and 700 from all", {
    "aiohttp": [asyncio.run(by_aiohttp(small)), asyncio.run(by_aiohttp(large))],
    "aiohttp, larger buffer": asyncio.run(by_aiohttp(large, read_bufsize=1 << 20)),
    "aiosseclient": [asyncio.run(by_aiosseclient(small)), asyncio.run(by_aiosseclient(large))],
    "httpx": by_httpx(large),
}, {"aiohttp": [400, "LineTooLong"], "aiohttp, larger buffer": 700, "aiosseclient": [400, "LineTooLong"], "httpx": 700})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
