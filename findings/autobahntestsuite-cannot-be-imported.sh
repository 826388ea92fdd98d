#!/usr/bin/env bash
# The Autobahn test suite is the usual conformance test for WebSocket servers. One expects the newest package on
# PyPI (25.10.1) to run on Python 3. autobahntestsuite 25.10.1 installs on Python 3.11 without complaint; its
# modules are Python 2 source (print statements), so its command ends with an error before the first case. For
# close codes and fragmentation a server needs probes of its own.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" --no-deps autobahntestsuite==25.10.1 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import sys

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import pathlib

folder = next(pathlib.Path(p) / "autobahntestsuite" for p in sys.path if (pathlib.Path(p) / "autobahntestsuite").is_dir())
broken = 0
for source in sorted(folder.rglob("*.py")):
    try:
        compile(source.read_text(errors="replace"), source.name, "exec")
    except SyntaxError:
        broken += 1
print("autobahntestsuite 25.10.1, modules that Python 3 cannot compile:", broken)
verdict("0", "none" if broken == 0 else "more than ten" if broken > 10 else "some", "more than ten")
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
