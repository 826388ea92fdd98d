#!/usr/bin/env bash
# A server that has to break off in mid answer says so with an error event. One expects the SDK to raise, or at
# least to hand that event on, as cohere-ai 8.1.0 for JavaScript does. cohere 7.3.1 (Python) passes over each
# event that it does not know with a line in the log of the root logger: an answer that an error ended looks like
# one that is whole but for its missing `message-end`. Look for `message-end`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" cohere==7.3.1 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import logging
from importlib.metadata import version

import cohere

records = []
logging.getLogger().addHandler(type("Keep", (logging.Handler,), {"emit": lambda self, record: records.append(record)})())


def ask(*pieces):
    client, seen = cohere.ClientV2(api_key="none", base_url=serve(pieces)), []
    try:
        for part in client.chat_stream(model="m", messages=[{"role": "user", "content": "hello"}]):
            seen.append(part.type)
    except Exception as error:
        seen.append(type(error).__name__)
    return seen


text = event({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hel"}}}}, "content-delta")
error = event({"type": "error", "message": "the model is gone"}, "error")
print("cohere", version("cohere"))
seen = ask(text, error)
verdict("content-delta, then an exception or an event", (seen, [record.levelname for record in records if record.name == "root"]),
        (["content-delta"], ["WARNING"]))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
