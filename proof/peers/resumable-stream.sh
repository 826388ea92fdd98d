#!/usr/bin/env bash
# resumable-stream 2.2.13 with ai 6.0.326 (npm) and Redis: the AI SDK's documented example ("Chatbot Resume Streams").
# Its two handlers stand behind the least of an HTTP server. The chat's store is Redis, too, so that it survives a kill.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
need_npm ai@6.0.326 @ai-sdk/openai-compatible@2 resumable-stream@2.2.13 redis@6.3.1
cp "$here/resumable-stream.mjs" "$dir/server.mjs"
serve 9404 "exec redis-server --port 9404 --bind 127.0.0.1 --save '' --appendonly no"
start="cd $dir; echo \$\$ >pid; exec env REDIS_URL=redis://127.0.0.1:9404 node server.mjs 9403"
serve 9403 "$start"
"$streamproof" run --protocol ui --target http://127.0.0.1:9403 --upstream-listen 127.0.0.1:9100 --pid "$pid" --start "$start" "$@"
