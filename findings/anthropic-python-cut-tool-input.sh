#!/usr/bin/env bash
# A tool call that is cut by max_tokens has half an `input`. One expects the helper to drop what is not whole,
# to raise, or at least to treat all kinds of values alike. anthropic 2.14.0 (Python): of `{"amount": 12`
# (perhaps of 1250) the number is kept as it is, of `{"path": "/home/user` the text is dropped. The helper for
# JavaScript (1.14.0) drops both. Nothing but stop_reason "max_tokens" says that the call must not be run.
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


def ask(cut):
    pieces = [START, named("content_block_start", index=0, content_block={"type": "tool_use", "id": "t1", "name": "pay", "input": {}}),
              named("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": cut}),
              named("content_block_stop", index=0),
              named("message_delta", delta={"stop_reason": "max_tokens", "stop_sequence": None}, usage={"output_tokens": 9}),
              named("message_stop")]
    client = anthropic.Anthropic(base_url=serve(pieces), api_key="none", max_retries=0)
    with client.messages.stream(**ASK) as stream:
        return stream.get_final_message().content[0].input


print("anthropic", anthropic.__version__)
verdict("{} and {}, or two errors", (ask('{"amount": 12'), ask('{"path": "/home/user')), ({"amount": 12}, {}))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
