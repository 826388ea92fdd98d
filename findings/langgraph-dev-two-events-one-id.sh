#!/usr/bin/env bash
# `langgraph dev` numbers the events of a resumable run, and goes on behind the `Last-Event-ID` of a reader that comes back.
# One expects an id for each event. langgraph-cli 0.4.40 (langgraph-api 0.16.7, langgraph-runtime-inmem 0.36.7): the id is the
# time in milliseconds, always with "-0" behind it. Events of the same millisecond have the same id, and a reader that was cut
# between two of them never gets the second: a token of the answer is missing, without an error.
set -euo pipefail
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; wait; rm -rf "$dir"' EXIT
{ python3 -m venv "$dir/python" && "$dir/python/bin/pip" install -q "langgraph-cli[inmem]==0.4.40" langgraph-api==0.16.7 \
  langgraph-runtime-inmem==0.36.7; } >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cd "$dir"
cat >graph.py <<'PY'
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph


async def say(state: MessagesState):
    write = get_stream_writer()
    for n in range(200):
        write(n)
    return {}


graph = StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").add_edge("say", END).compile()
PY
echo '{ "dependencies": ["."], "graphs": { "agent": "./graph.py:graph" } }' >langgraph.json
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
LANGSMITH_TRACING=false NO_PROXY=127.0.0.1 python/bin/langgraph dev --no-browser --no-reload --host 127.0.0.1 --port "$port" >>log 2>&1 &
server=$!
cat >finding.py <<'PY'
import collections, json, sys, time, urllib.request, uuid

base = f"http://127.0.0.1:{sys.argv[1]}"
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, body=None, **headers):
    data = json.dumps(body).encode() if body is not None else None
    return direct.open(urllib.request.Request(base + path, data, {"content-type": "application/json", **headers}), timeout=60)


def read(path, behind):
    events, event = [], {}
    for line in ask(path, **{"last-event-id": behind}):
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field:
            event[field] = value
        elif event:
            events.append(event)
            event = {}
    return [event for event in events if event["event"] == "custom"]


for _ in range(300):
    try:
        ask("/ok")
        break
    except OSError:
        time.sleep(0.4)
thread = str(uuid.uuid4())
body = {"assistant_id": "agent", "if_not_exists": "create", "input": {"messages": []}, "stream_mode": ["custom"], "stream_resumable": True}
run = json.load(ask(f"/threads/{thread}/runs", body))["run_id"]
path = f"/threads/{thread}/runs/{run}/stream"
events = read(path, "-1")
ids = [event["id"] for event in events]
at = next((at for at in range(len(ids) - 1) if ids[at] == ids[at + 1]), None)
rest = read(path, ids[at]) if at is not None else []
print("langgraph-cli 0.4.40, langgraph-api 0.16.7:", len(events), "events with", len(set(ids)), "ids")
print("expected: 200 events, an id for each; behind the first of two with one id, the second comes")
seen = "whole" if at is None or rest and rest[0]["data"] == events[at + 1]["data"] else "lost"
print("seen:     the second is", seen)
print("as described" if seen == "lost" else "CHANGED: described was lost")
sys.exit(0 if seen == "lost" else 1)
PY
python3 finding.py "$port"
