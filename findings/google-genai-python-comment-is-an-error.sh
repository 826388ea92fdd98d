#!/usr/bin/env bash
# SSE servers and proxies send comments (": ping") while a model thinks. One expects an SDK for SSE streams to pass
# over them, as google-genai for JavaScript does, and to take `data:` with and without the space. google-genai
# 3.6.1 (Python) takes each line for JSON when it does not begin with "data: ": a comment, an `id:`, `event:` or
# `retry:` line and `data:{` raise UnknownApiResponseError, also in the middle of an answer.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" google-genai==3.6.1 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


from importlib.metadata import version

from google import genai


def part(text, **more):
    return event({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}]})


def ask(*pieces):
    client, text = genai.Client(api_key="none", http_options={"base_url": serve(pieces)}), ""
    try:
        for piece in client.models.generate_content_stream(model="m", contents="hello"):
            text += piece.text
    except Exception as error:
        return text, type(error).__name__
    return text, None


first, last = part("Hel"), part("lo", finishReason="STOP")
print("google-genai", version("google-genai"))
verdict("('Hello', None) four times", {
    "plain": ask(first, last),
    "comment": ask(first, ": ping\n\n", last),
    "id": ask(first, "id: 2\n" + last),
    "no space": ask(first, last.replace("data: ", "data:")),
}, {"plain": ("Hello", None), **{kind: ("Hel", "UnknownApiResponseError") for kind in ("comment", "id", "no space")}})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
