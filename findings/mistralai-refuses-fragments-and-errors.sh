#!/usr/bin/env bash
# mistralai's client can be pointed at any compatible server (`server_url`). One expects it to read tool calls
# in fragments and an error object in mid stream as other SDKs of this wire do. mistralai 3.7.0 demands a name
# in every fragment (only the first has one) and an `id` in every event, so both raise ResponseValidationError,
# and the server's words are found only inside a validation report. Its own API sends whole calls; servers of
# the OpenAI kind do not.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" mistralai==3.7.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


from importlib.metadata import version

from mistralai.client import Mistral


def ask(pieces):
    with Mistral(api_key="none", server_url=serve(pieces)) as client:
        try:
            return [e.data.choices[0].finish_reason for e in client.chat.stream(model="m", messages=ASK)]
        except Exception as error:
            return type(error).__name__


def call(**function):
    first = {"id": "c0", "type": "function"} if "name" in function else {}
    return chunk({"tool_calls": [{"index": 0, **first, "function": function}]})


tools = [call(name="f", arguments=""), call(arguments="{}"), chunk({}, "tool_calls"), DONE]
failed = [chunk({"role": "assistant", "content": "Hello"}), event({"error": {"message": "the model went away"}})]
print("mistralai", version("mistralai"))
verdict("the call; an error that says 'the model went away'", (ask(tools), ask(failed)), ("ResponseValidationError",) * 2)
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
