"""The table of docs/models.md from files of results: table.py FILE …"""

import json
import sys
from collections import defaultdict

HEAD = "| place | losses | sound | of these equal | identical text | restarted | failed | drifted |\n|---|---|---|---|---|---|---|---|"
LOSSES = "| server, `continuation` | lost by | at token borders: sound | at other characters: sound | identical for 32 tokens | begun anew, failed | above the limit |\n|---|---|---|---|---|---|---|"
NAMES = {
    "llama.cpp": "llama.cpp, `prefix`",
    "llama.cpp-streams": "llama.cpp, `provider_resume`",
    "llama.cpp-messages": "llama.cpp's `/v1/messages`, `anthropic` with `prefix`",
    "litellm": "LiteLLM before llama.cpp, `prefix`",
}
WAYS = {"cut": "a cut connection", "kill lastword": "`kill -9` of lastword", "kill the model server": "`kill -9` of the model's server"}


def read(files):
    rows, notes = [], []
    for name in files:
        with open(name) as lines:
            for line in lines:
                row = json.loads(line)
                (rows if "point" in row else notes).append(row)
    return rows, notes


def counts(rows):
    """Cells behind the group's name. A drifted answer took another way before it was lost, and says nothing of the joint."""
    drifted = [r for r in rows if r["verdict"] == "drifted"]
    rest = [r for r in rows if r["verdict"] != "drifted"]
    number = len(rest)
    equal = sum(r["verdict"] == "equal" for r in rest)
    sound = equal + sum(r["verdict"] == "near tie" for r in rest)
    share = f" ({100 * sound / number:.0f} %)" if number else ""
    told = [sum(r["verdict"] == v for r in rest) for v in ("restarted", "failed")]
    cells = [number, f"{sound}{share}", equal, sum(r["identical"] for r in rest), *told, len(drifted)]
    return " | ".join(map(str, cells))


def groups(rows, key):
    found = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def summed(rows):
    """Cells of the table of losses. A drifted answer took another way before it was lost, and says nothing of the joint."""
    rest = [r for r in rows if r["verdict"] != "drifted"]
    places = [[r for r in rest if r["point"]["border"] is border] for border in (True, False)]
    sound = [f"{sum(r['verdict'] in ('equal', 'near tie') for r in some)} of {len(some)}" for some in places]
    bad = sum(r["verdict"] in ("restarted", "failed") for r in rest)
    over = sum(not r["within_budget"] for r in rest)
    return " | ".join(map(str, [*sound, f"{sum(r['identical'] for r in rest)} of {len(rest)}", bad, over]))


def of(files):
    rows, notes = read(files)
    lines = [LOSSES]
    for (server, loss), some in groups(rows, lambda r: (r["variant"], r["point"]["loss"])).items():
        lines.append(f"| {NAMES.get(server, server)} | {WAYS.get(loss, loss)} | {summed(some)} |")
    lines += ["", HEAD]
    for place, some in sorted(groups(rows, lambda r: r["point"]["place"]).items()):
        lines.append(f"| {place} | {counts(some)} |")
    lines += ["", "| server | scenario | as promised | seen |", "|---|---|---|---|"]
    lines += [f"| {n['server']} | {n['scenario']} | {'yes' if n['held'] else 'no'} | {n['seen']} |" for n in notes if "scenario" in n]
    lines += [""] + [f"{n['server']}: {n['versions']}, {n['lastword']}, {n['date']}, load {n.get('load')}" for n in notes if "versions" in n]
    return "\n".join(lines)


if __name__ == "__main__":
    print(of(sys.argv[1:]))
