#!/usr/bin/env bash
# A body that ends cleanly in mid event (a proxy's time limit) leaves half an event, which EventSource discards.
# langgraph-sdk 0.4.14 (Python) comes back by itself after such an end, with the last id; one expects that no event is
# lost or doubled. It hands on the half event, too: cut behind its data the event comes twice, cut in its id the
# client comes back with a position that is none (1 for 12), and cut in its data a JSONDecodeError ends the stream,
# with no reconnection. @langchain/langgraph-sdk 1.15.0 does the first two as well, and comes back from the third.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" langgraph-sdk==0.4.14 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import http.server, json, sys, threading, warnings


def serve(first, rest):
    """A run that can be taken up: `first` is the answer to its start, `rest` to the reader who comes back."""

    class Stub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            stream = self.path.split("?")[0].endswith("/stream")
            if self.command == "GET" and stream:
                positions.append(self.headers.get("last-event-id"))
            text = (first if self.command == "POST" else rest) if stream else '{"run_id": "r1", "status": "running"}'
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if stream else "application/json")
            self.send_header("location", "/threads/t1/runs/r1/stream")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


from importlib.metadata import version

from langgraph_sdk import get_sync_client

positions = []


def event(id, data, name="custom"):
    return f"event: {name}\ndata: {json.dumps(data)}\nid: {id}\n\n"


def read(half):
    """What a reader gets of Hel and lo when the first body ends with `half` of the second event."""
    positions.clear()
    client, seen = get_sync_client(url=serve(event(11, "Hel") + half, event(12, "lo") + event(13, None, "end")), api_key=None), []
    try:
        for part in client.runs.stream("t1", "a", input={}):
            seen.append(part.data)
    except Exception as error:
        seen.append(type(error).__name__)
    return seen, positions[:]


warnings.simplefilter("ignore")
print("langgraph-sdk", version("langgraph-sdk"))
whole = event(12, "lo")
verdict("(['Hel', 'lo', None], ['11']) each time", {
    "between events": read(""),
    "in the data": read(whole[:whole.index("lo") + 1]),
    "behind the data": read(whole[:whole.index("id:")]),
    "in the id": read(whole[:whole.index("12") + 1]),
}, {
    "between events": (["Hel", "lo", None], ["11"]),
    "in the data": (["Hel", "JSONDecodeError"], []),
    "behind the data": (["Hel", "lo", "lo", None], ["11"]),
    "in the id": (["Hel", "lo", "lo", None], ["1"]),
})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
