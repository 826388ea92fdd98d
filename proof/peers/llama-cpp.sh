#!/usr/bin/env bash
# llama.cpp's server, as xllamacpp 2026.10.11549 (PyPI) has it built in, with a model of random weights that is made here.
# The first argument is the protocol: sse (default: chat completions with its own resume route), chat, responses, messages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
protocol=${1:-sse}
shift || true
need_pip --only-binary :all: xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6
[ -f "$dir/model.gguf" ] || "$dir/python/bin/python" "$here/llama-cpp-model.py" "$dir/model.gguf"
start="cd $dir; echo \$\$ >pid; exec python/bin/python $here/llama-cpp.py model.gguf 9407"
serve 9407 "$start"
answers "http://127.0.0.1:9407/health"
map=()
[ "$protocol" = sse ] && map=(--map "$here/../maps/llama-cpp.json")
"$streamproof" run --protocol "$protocol" "${map[@]}" --target http://127.0.0.1:9407 \
  --pid "$pid" --start "$start" "$@"
