#!/usr/bin/env bash
# A body that ends inside an event, before its blank line: the SSE specification says that the event is not
# dispatched. One expects clients to drop it and to come back for it. sseclient-py 1.9.0 and mistralai 3.7.0
# deliver it as an ordinary event; httpx-sse 0.4.3 does not. Where a half text is valid by itself (a number, a
# bare token), a wrong value is read, and with its id the reader then goes on behind it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" sseclient-py==1.9.0 mistralai==3.7.0 httpx-sse==0.4.3 httpx==0.28.1 requests==2.34.2 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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

import httpx
import httpx_sse
import requests
import sseclient
from mistralai.client.utils.eventstreaming import stream_events

url = serve(["data: 1250\n\n", "data: 12"])
with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", url) as source:
    by_httpx_sse = [e.data for e in source.iter_sse()]
by_sseclient = [e.data for e in sseclient.SSEClient(requests.get(url, stream=True)).events()]
with httpx.stream("GET", url) as answer:
    by_mistral = [str(e) for e in stream_events(answer, lambda raw: json.loads(raw)["data"])]
print("sseclient-py", version("sseclient-py"), "mistralai", version("mistralai"), "httpx-sse", version("httpx-sse"))
verdict("['1250'] from each", (by_sseclient, by_mistral, by_httpx_sse), (["1250", "12"], ["1250", "12"], ["1250"]))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
