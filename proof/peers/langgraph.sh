#!/usr/bin/env bash
# LangGraph's development server (langgraph-cli 0.4.40, PyPI): `langgraph dev`, all in memory. On a machine that is
# busy it takes a minute and more to start.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
need_pip -r "$here/langgraph.txt"
cp "$here/langgraph.py" "$dir/graph.py"
echo '{ "dependencies": ["."], "graphs": { "agent": "./graph.py:graph" } }' >"$dir/langgraph.json"
start="cd $dir; echo \$\$ >pid; exec env UPSTREAM=http://127.0.0.1:9100/v1 LANGSMITH_TRACING=false NO_PROXY=127.0.0.1 \
  python/bin/langgraph dev --no-browser --no-reload --host 127.0.0.1 --port 9405"
serve 9405 "$start"
answers "http://127.0.0.1:9405/ok"
"$streamproof" run --protocol sse --map "$here/../maps/langgraph.json" --target http://127.0.0.1:9405 \
  --upstream-listen 127.0.0.1:9100 --pid "$pid" --start "$start" \
  --start-within-s 200 --time-limit-s 600 "$@"
