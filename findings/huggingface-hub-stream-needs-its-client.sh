#!/usr/bin/env bash
# `InferenceClient(...).chat_completion(..., stream=True)` returns an iterator. One expects to be able to read
# it without keeping the client in a variable, as with openai's. huggingface_hub 2.4.0: the iterator does not
# hold its client, and a client that is collected closes its connections. The one-liner raises StreamClosed
# before the first token; with the client in a variable it works. A helper function that makes the client and
# returns the stream meets this always.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" huggingface_hub==2.4.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import huggingface_hub

url = serve([chunk({"role": "assistant", "content": "Hello"}), chunk({}, "stop"), DONE]) + "/v1"


def text(stream):
    try:
        return "".join(c.choices[0].delta.content or "" for c in stream)
    except Exception as error:
        return type(error).__name__


kept = huggingface_hub.InferenceClient(base_url=url, api_key="none")
seen = (text(kept.chat_completion(ASK, stream=True)),
        text(huggingface_hub.InferenceClient(base_url=url, api_key="none").chat_completion(ASK, stream=True)))
print("huggingface_hub", huggingface_hub.__version__)
verdict("('Hello', 'Hello')", seen, ("Hello", "StreamClosed"))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
