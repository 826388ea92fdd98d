"""The table of docs/models.md from files of results: table.py FILE …"""

import json
import sys
from collections import defaultdict

HEAD = "| server | loss | at | losses | sound | of these equal | identical text | restarted | failed | drifted |\n|---|---|---|---|---|---|---|---|---|---|"


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


def of(files):
    rows, notes = read(files)
    lines = [HEAD]
    border = lambda r: "token borders" if r["point"]["border"] else "other characters"
    for (server, loss, at), some in groups(rows, lambda r: (r["variant"], r["point"]["loss"], border(r))).items():
        lines.append(f"| {server} | {loss} | {at} | {counts(some)} |")
    lines += ["", HEAD.replace("| loss | at |", "| place |", 1).replace("|---", "", 1)]
    for (server, place), some in sorted(groups(rows, lambda r: (r["variant"], r["point"]["place"])).items()):
        lines.append(f"| {server} | {place} | {counts(some)} |")
    lines += ["", "| server | scenario | as promised | seen |", "|---|---|---|---|"]
    lines += [f"| {n['server']} | {n['scenario']} | {'yes' if n['held'] else 'no'} | {n['seen']} |" for n in notes if "scenario" in n]
    lines += [""] + [f"{n['server']}: {n['versions']}, {n['lastword']}, {n['date']}" for n in notes if "versions" in n]
    return "\n".join(lines)


if __name__ == "__main__":
    print(of(sys.argv[1:]))
