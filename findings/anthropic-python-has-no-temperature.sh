#!/usr/bin/env bash
# Many examples for the Messages API set `temperature`. One expects `messages.create(temperature=0)` to work.
# anthropic 2.14.0 (Python) does not know `temperature`, `top_p` and `top_k` any more: TypeError before any
# request; they go through `extra_body` only. A compatible server still gets them from older clients, and must
# take them.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" anthropic==2.14.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import sys

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import inspect

import anthropic
from anthropic.resources.messages import Messages

known = inspect.signature(Messages.create).parameters
seen = {name: name in known for name in ("temperature", "top_p", "top_k", "max_tokens", "stop_sequences")}
print("anthropic", anthropic.__version__)
verdict("all known", seen, {"temperature": False, "top_p": False, "top_k": False, "max_tokens": True, "stop_sequences": True})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
