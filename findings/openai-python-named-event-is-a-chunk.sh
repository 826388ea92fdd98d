#!/usr/bin/env bash
# A gateway may send events of another name between the chunks, `event: ping` for instance. One expects the SDK
# to pass over names that it does not know, as EventSource does. openai 3.57.0 (Python) builds a
# ChatCompletionChunk out of whatever data it holds: `choices` is None, `id` is None, and the usual loop over
# `chunk.choices` raises TypeError. Its own helper `.stream()` is not disturbed. Extra news on a chat completion
# stream belong into comments or into fields of a real chunk.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai==3.57.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import openai

url = serve([chunk({"role": "assistant", "content": "Hel"}), event({"at": 1}, "ping"), chunk({"content": "lo"}),
             chunk({}, "stop"), DONE])
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
kinds = [(type(c).__name__, c.choices and c.choices[0].delta.content)
         for c in client.chat.completions.create(model="m", messages=ASK, stream=True)]
with client.chat.completions.stream(model="m", messages=ASK) as stream:
    helper = stream.get_final_completion().choices[0].message.content
print("openai", openai.__version__)
verdict("three chunks, or an event of another type", (kinds, helper),
        ([("ChatCompletionChunk", "Hel"), ("ChatCompletionChunk", None), ("ChatCompletionChunk", "lo"),
          ("ChatCompletionChunk", None)], "Hello"))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
