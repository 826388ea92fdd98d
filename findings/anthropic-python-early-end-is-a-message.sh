#!/usr/bin/env bash
# A Messages stream that ends cleanly before `message_delta` and `message_stop` is a cut answer. One expects
# `get_final_message()` to raise, as @anthropic-ai/sdk 1.14.0 does ("stream ended without producing a Message").
# anthropic 2.14.0 (Python) returns the half text as a Message; that stop_reason is None is the only sign.
# Through HTTP/2 proxies that turn a crash into a clean end, nobody is told: check `stop_reason`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" anthropic==2.14.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


def named(kind, **more):
    return event({"type": kind, **more}, kind)


START = named("message_start", message={
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
    "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 1}})
BLOCK = named("content_block_start", index=0, content_block={"type": "text", "text": ""})
TEXT = named("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
END = [named("content_block_stop", index=0),
       named("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 3}),
       named("message_stop")]
ASK = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import anthropic

client = anthropic.Anthropic(base_url=serve([START, BLOCK, TEXT]), api_key="none", max_retries=0)
with client.messages.stream(**ASK) as stream:
    message = stream.get_final_message()
print("anthropic", anthropic.__version__)
verdict("an error", (message.content[0].text, message.stop_reason), ("Hello", None))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
