#!/usr/bin/env bash
# openai's request types are TypedDicts that mark fields as `Required[...]`. One expects `__required_keys__` to
# name them, for instance `role` and `content` of a user message. openai 3.57.0 (Python): both are missing,
# since the modules postpone annotations and Required is a text there. Whoever derives a schema or a conformance
# test from these types must resolve the hints with get_type_hints first.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai==3.57.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import sys

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import typing

import openai
from openai.types.chat import ChatCompletionUserMessageParam as User

declared = {k for k, v in typing.get_type_hints(User, include_extras=True).items()
            if typing.get_origin(v) is typing.Required}
print("openai", openai.__version__)
verdict("the same twice", (sorted(User.__required_keys__ & {"content", "role"}), sorted(declared)), ([], ["content", "role"]))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
