#!/usr/bin/env bash
# A stream may hold an event that has no data, such as a lone `retry: 3000`; the SSE specification says that it
# is not dispatched. One expects the SDK to pass it over, as the SDKs for JavaScript do. The official Python SDK
# (openai 3.57.0) takes it for an event, parses its empty data as JSON and raises JSONDecodeError before the
# first token; `groq` 1.7.0, made by the same generator, does too. A server that streams to these must never
# send `retry:` or `id:` in a block of its own.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai==3.57.0 groq==1.7.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


def chunk(delta=None, finish=None, index=0, **more):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return event({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more})


DONE = "data: [DONE]\n\n"
ASK = [{"role": "user", "content": "hello"}]

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import groq
import openai

seen = {}
url = serve(["retry: 3000\n\n", chunk({"role": "assistant", "content": "Hello"}), chunk({}, "stop"), DONE])
for module, client in [(openai, openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)),
                       (groq, groq.Groq(base_url=url, api_key="none", max_retries=0))]:
    text = ""
    try:
        for part in client.chat.completions.create(model="m", messages=ASK, stream=True):
            text += part.choices[0].delta.content or ""
    except ValueError as error:
        text = type(error).__name__
    seen[module.__name__ + " " + module.__version__] = text
verdict("both read 'Hello'", seen, {"openai 3.57.0": "JSONDecodeError", "groq 1.7.0": "JSONDecodeError"})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
