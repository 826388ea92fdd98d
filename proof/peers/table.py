"""Prints the table of docs/comparison.md: NAME=FILE..., where `streamproof run --json` wrote each file."""
import json
import sys

WORDS = {"pass": "pass", "fail": "**fail**", "not_offered": "–"}
columns = []
for argument in sys.argv[1:]:
    name, _, file = argument.partition("=")
    with open(file, encoding="utf-8") as opened:
        columns.append((name, {check["id"]: WORDS[check["verdict"]] for check in json.load(opened)["checks"]}))
if not columns:
    sys.exit(__doc__)
print("| check | " + " | ".join(name for name, _ in columns) + " |")
print("|---" * (len(columns) + 1) + "|")
for check in columns[0][1]:
    print(f"| `{check}` | " + " | ".join(words.get(check, "·") for _, words in columns) + " |")
