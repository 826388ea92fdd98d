#!/usr/bin/env bash
# Many SSE clients in Python are a loop over `iter_lines()`. In SSE only CR and LF end a line, and JSON may hold
# U+2028, U+2029 and U+0085 as they are. One expects such an event to arrive as one line. httpx 0.28.1
# `iter_lines()` and requests 2.34.2 `iter_lines(decode_unicode=True)` break lines there (they follow
# str.splitlines), and the package aiosseclient 0.1.8 delivers the first part as the whole event. aiohttp 3.14.5
# does not. A server helps everybody by escaping these three in JSON.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" httpx==0.28.1 requests==2.34.2 aiosseclient==0.1.8 aiohttp==3.14.5 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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
import requests

url = serve(['data: {"t":"a\u2028b"}\n\n'], kind="text/event-stream; charset=utf-8")


async def by_aiosseclient():
    async for message in aiosseclient.aiosseclient(url):
        return message.data


async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return [line.decode().rstrip("\n") async for line in answer.content if line.strip()]


with httpx.stream("GET", url) as answer:
    by_httpx = [line for line in answer.iter_lines() if line]
by_requests = [line for line in requests.get(url, stream=True).iter_lines(decode_unicode=True) if line]
print("httpx", httpx.__version__, "requests", requests.__version__, "aiohttp", aiohttp.__version__, "aiosseclient 0.1.8")
halves = ['data: {"t":"a', 'b"}']
verdict("one line from each", (by_httpx, by_requests, asyncio.run(by_aiosseclient()), asyncio.run(by_aiohttp())),
        (halves, halves, '{"t":"a', ['data: {"t":"a\u2028b"}']))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
