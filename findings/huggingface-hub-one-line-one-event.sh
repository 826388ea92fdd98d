#!/usr/bin/env bash
# huggingface_hub reads the event stream line by line instead of event by event. One expects a JSON chunk to
# survive what SSE allows: a text with U+2028 in it (legal in JSON and in SSE), and an event of two `data:`
# lines. huggingface_hub 2.4.0 raises JSONDecodeError for both: its line iterator also splits at U+2028, U+2029
# and U+0085, and each `data:` line is parsed alone. A server should escape these three characters in JSON, and
# send one `data:` line for each event.
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

said = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": "a\u2028b"}, "finish_reason": None}]}
separator = "data: " + json.dumps(said, ensure_ascii=False) + "\n\n"
two_lines = "".join(f"data: {line}\n" for line in json.dumps(said, indent=1).splitlines()[:]) + "\n"


def ask(first):
    client = huggingface_hub.InferenceClient(base_url=serve([first, chunk({}, "stop"), DONE]) + "/v1", api_key="none")
    try:
        return "".join(c.choices[0].delta.content or "" for c in client.chat_completion(ASK, stream=True))
    except ValueError as error:
        return type(error).__name__


print("huggingface_hub", huggingface_hub.__version__)
verdict("the text, twice", (ask(event(said)), ask(separator), ask(two_lines)),
        ("a\u2028b", "JSONDecodeError", "JSONDecodeError"))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
