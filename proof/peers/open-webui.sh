#!/usr/bin/env bash
# Open WebUI 0.12.4 (PyPI), its backend alone, for one user without a password. Not installed: torch and what it brings
# (5 GB), which only its search in documents needs. It starts slowly, so it is killed once. The first argument is the
# protocol: chat (default) or messages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
protocol=${1:-chat}
shift || true
need_pip --no-deps -r "$here/open-webui.txt"
mkdir -p "$dir/data"
start="cd $dir; echo \$\$ >pid; exec env DATA_DIR=$dir/data WEBUI_AUTH=False WEBUI_SECRET_KEY=streamproof ENABLE_OLLAMA_API=False \
  OPENAI_API_BASE_URL=http://127.0.0.1:9100/v1 OPENAI_API_KEY=none RAG_EMBEDDING_ENGINE=openai OFFLINE_MODE=True \
  HF_HUB_OFFLINE=1 ANONYMIZED_TELEMETRY=false SCARF_NO_ANALYTICS=true DO_NOT_TRACK=true NO_PROXY=127.0.0.1 \
  python/bin/open-webui serve --host 127.0.0.1 --port 9406"
serve 9406 "$start"
answers "http://127.0.0.1:9406/health"
signin=$(curl -s --noproxy '*' -H 'content-type: application/json' -d '{"email":"","password":""}' \
  http://127.0.0.1:9406/api/v1/auths/signin)
token=$(printf %s "$signin" | "$dir/python/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["token"])')
"$streamproof" run --protocol "$protocol" --target http://127.0.0.1:9406/api --upstream-listen 127.0.0.1:9100 \
  --header "authorization: Bearer $token" --pid "$pid" --start "$start" \
  --kills 1 --start-within-s 300 --time-limit-s 600 "$@"
