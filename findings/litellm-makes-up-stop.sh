#!/usr/bin/env bash
# One expects a gateway to pass an upstream's finish reason on, and to tell when there is none. litellm 1.110.2
# turns a reason that it does not know (here `context_window`) into "stop", so a cut answer looks whole; an
# empty body (200, no event) becomes an answer with "stop", too. Only text without any reason is an error since
# this version (the proxy of 1.106.12 said "stop" there as well). Behind it, reasons other than OpenAI's own do
# not reach a client.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" litellm==1.110.2 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import os
from importlib.metadata import version

os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="CRITICAL")
import litellm

litellm.suppress_debug_info = True


def ask(pieces):
    text, reasons = "", []
    try:
        for part in litellm.completion(model="openai/m", api_base=serve(pieces) + "/v1", api_key="none", messages=ASK,
                                       stream=True, max_retries=0):
            text += part.choices[0].delta.content or ""
            reasons += [part.choices[0].finish_reason] if part.choices[0].finish_reason else []
    except litellm.APIConnectionError as error:
        return text, "APIConnectionError"
    except Exception as error:
        return text, type(error).__name__
    return text, reasons


hello = chunk({"role": "assistant", "content": "Hello"})
print("litellm", version("litellm"))
verdict("context_window; an error; an error",
        [ask([hello, chunk({}, "context_window"), DONE]), ask([]), ask([hello])],
        [("Hello", ["stop"]), ("", ["stop"]), ("Hello", "MidStreamFallbackError")])
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
