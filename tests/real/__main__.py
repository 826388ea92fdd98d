"""`make real`: drives real model servers through lastword and says what became of the answers. See CONTRIBUTING.md."""

import argparse
import itertools
import json
import os
import sys
import time
from dataclasses import replace

import away
import install
import losses
import reference
import rigs
import scenarios
import selftest
import table
import texts

TRIES = 3
AHEAD = 4  # times the answers at once: so many cuts are given out together


def options():
    parser = argparse.ArgumentParser(prog="tests/real", description=__doc__)
    say, env = parser.add_argument, os.environ.get
    say("--binary", default=env("SERVER_BINARY", "target/release/lastword"))
    say("--points", type=int, default=int(env("POINTS") or 12), help="losses of each kind at each server")
    say("--servers", default=env("SERVERS") or ",".join(rigs.DEFAULT), help=f"of {', '.join(rigs.VARIANTS)}")
    say("--minutes", type=float, default=float(env("MINUTES") or 1e9), help="for the losses of a kind at a server, at most")
    say("--only", default="losses,scenarios,away")
    say("--losses", default=",".join(losses.LOSSES), help="which")
    say("--at-once", type=int, default=int(env("AT_ONCE") or 8), help="answers that are lost together")
    say("--nice", type=int, default=5, help="of a model server")
    say("--threads", type=int, default=1, help="of a model server")
    say("--seed", type=int, default=1)
    say("--cache", action="store_true", help="llama.cpp keeps prompts: half the time, and other near ties")
    return parser.parse_args()


def main():
    args = options()
    args.setting = rigs.Setting(os.path.abspath(args.binary), args.threads, args.nice, args.at_once, args.cache)
    results = install.work_dir() / "results" / f"{time.strftime('%Y-%m-%dT%H%M%S')}-{os.getpid()}.jsonl"
    fine = True
    with open(results, "a") as out:

        def note(row):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()

        for name in args.servers.split(","):
            fine &= drive(name, args, note)
    print(table.of([results]))
    print(results)
    return fine


def drive(name, args, note):
    """Whether all was as promised at this server."""
    fine = True
    if "losses" in args.only or "scenarios" in args.only:
        with rigs.VARIANTS[name](name, args.setting) as rig:
            note(about(rig))
            references = undisturbed(rig)
            note({"server": name, "selftest": selftest.report(references.values())})
            fine &= "losses" not in args.only or lose(rig, args, references, note)
            fine &= "scenarios" not in args.only or told(name, scenarios.all_of(rig, references), note)
    if "away" in args.only and name in rigs.AWAY:
        with rigs.VARIANTS[name](name, replace(args.setting, slots=away.AT_ONCE)) as rig:
            note(about(rig))
            fine &= told(name, [away.away(rig, undisturbed(rig))], note)
    return fine


def about(rig):
    facts = {"versions": rig.versions, "date": time.strftime("%Y-%m-%d %H:%M"), "lastword": rig.lastword.version()}
    return {"server": rig.name, **facts, "cache": rig.setting.cache, "load": [round(load, 1) for load in os.getloadavg()]}


def undisturbed(rig):
    """Kept from run to run: it takes longer than a short run itself."""
    file = install.work_dir() / f"undisturbed {' '.join(sorted(rig.basis.values()))}.json"
    return reference.kept(file, rig.direct, texts.PROMPTS, texts.LIMIT)


def lose(rig, args, references, note):
    bad = 0
    references = {name: reference.first(losses.TOKENS) for name, reference in references.items()}
    marks = itertools.count(1000)
    for loss in args.losses.split(","):
        end = time.monotonic() + 60 * args.minutes
        # Now and then an answer takes another way before it is lost: its point is tried again.
        left = [(point, TRIES) for point in losses.points(references, loss, args.points, args.seed)]
        while left and time.monotonic() < end:
            size = args.at_once * (AHEAD if loss == "cut" else 1)
            some, left = left[:size], left[size:]
            outcomes = losses.together(rig, [point for point, _ in some], references, marks)
            for (point, tries), outcome in zip(some, outcomes):
                if outcome.verdict == "drifted" and tries > 1:
                    left.append((point, tries - 1))
                    continue
                note(outcome.row())
                bad += outcome.verdict in ("fault", "failed")
                print(rig.name, loss, outcome.line(), flush=True)
        if left:
            print(rig.name, loss, f"the time of {args.minutes} minutes is over", flush=True)
    return not bad


def told(name, seen, note):
    fine = True
    for what, held, words in seen:
        note({"server": name, "scenario": what, "held": held, "seen": words})
        print(f"{name}: {what}: {'as promised' if held else 'NOT as promised'}: {words}", flush=True)
        fine &= held
    return fine


sys.exit(0 if main() else 1)
