#!/usr/bin/env bash
# An Ollama stream is lines of JSON, the last one with `done: true`. A body that ends cleanly before it is a cut
# answer; one expects an error, as ollama 0.6.4 for JavaScript raises ("Did not receive done or success response
# in stream"). ollama 0.6.3 (Python) just ends the loop; an empty line between the others, which line-based JSON
# readers pass over, is a JSONDecodeError there. Look for `done` yourself.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" ollama==0.6.3 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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

import ollama


def line(text, **more):
    return json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": False, **more}) + "\n"


def ask(pieces):
    text, done = "", False
    try:
        for part in ollama.Client(host=serve(pieces, kind="application/x-ndjson")).chat(model="m", messages=ASK, stream=True):
            text, done = text + part.message.content, part.done
    except ValueError as error:
        return text, type(error).__name__
    return text, done


ASK = [{"role": "user", "content": "hello"}]
print("ollama", version("ollama"))
verdict("an error; ('Hello', True)", (ask([line("Hel")]), ask([line("Hel"), "\n", line("lo", done=True)])),
        (("Hel", False), ("Hel", "JSONDecodeError")))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
