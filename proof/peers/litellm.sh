#!/usr/bin/env bash
# LiteLLM 1.106.2 (PyPI), the proxy with one model and no database, as its quick start has it. The first argument is the
# protocol: chat (default), messages or responses. Responses of `hosted_vllm` are the upstream's own; those of
# `custom_openai` LiteLLM makes of chat completions itself.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
protocol=${1:-chat}
shift || true
provider=hosted_vllm
[ "$protocol" = responses ] && provider=custom_openai
need_pip --only-binary :all: -r "$here/../../bench/peers/requirements.txt"
# It does not start without one that is hard to guess; it guards this test alone.
key=sk-$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
cat >"$dir/config.yaml" <<YAML
model_list:
  - model_name: streamproof
    litellm_params:
      model: $provider/streamproof
      api_base: http://127.0.0.1:9100/v1
      api_key: none
general_settings:
  master_key: $key
YAML
start="echo \$\$ >$dir/pid; exec env LITELLM_TELEMETRY=False LITELLM_LOCAL_MODEL_COST_MAP=True NO_PROXY=127.0.0.1 $dir/python/bin/litellm --config $dir/config.yaml --host 127.0.0.1 --port 9402"
serve 9402 "$start"
"$streamproof" run --protocol "$protocol" --target http://127.0.0.1:9402 --upstream-listen 127.0.0.1:9100 \
  --header "authorization: Bearer $key" --pid "$pid" --start "$start" "$@"
