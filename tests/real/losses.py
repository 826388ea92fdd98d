"""One answer, lost once at a chosen character, and what became of it."""

import random
import time
from dataclasses import asdict, dataclass, field

import texts
from held import HOW
from lastword import Answer
from seam import judge

LOSSES = ["cut", "kill the model server", "kill lastword"]


@dataclass
class Point:
    loss: str
    prompt: str
    at: int
    border: bool
    place: str


@dataclass
class Outcome:
    variant: str
    point: Point
    how: str
    text: str = ""
    seams: list = field(default_factory=list)
    verdict: str = "failed"  # equal | near tie | fault | restarted | failed | drifted
    identical: bool = False
    status: str = ""
    error: str = ""
    tokens: int = 0
    within_budget: bool = True
    seconds: float = 0.0

    def row(self):
        return asdict(self)


def points(references, loss, number, seed):
    """`number` places, every other at a token border, over the prompts in turn; the same for the same seed. So a run that is
    ended by its time has them mixed as well."""
    chance = random.Random(f"{seed} {loss}")
    places = {True: {}, False: {}}
    for name, reference in sorted(references.items()):
        borders = reference.borders()
        for at in range(2, len(reference.text) - 4):
            places[at in borders].setdefault(name, []).append(at)
    chosen = []
    for i in range(number):
        border = i % 2 == 0
        name = list(places[border])[i // 2 % len(places[border])]
        at = chance.choice(places[border][name])
        chosen.append(Point(loss, name, at, border, texts.kind(references[name].text, at)))
    return chosen


def lose(rig, point, reference, tries=3):
    """Runs one point until the answer is lost where it should be: now and then it takes another way before that."""
    for _ in range(tries):
        outcome = once(rig, point, reference)
        if outcome.verdict != "drifted":
            break
    return outcome


def once(rig, point, reference):
    outcome = Outcome(rig.name, point, point.loss)
    began = time.monotonic()
    rig.server.wait()
    hold = rig.proxy.arm(point.at, recut=not point.border)
    answer, acted = Answer(), False
    generation = rig.lastword.begin(reference.prompt, max_output_tokens=texts.LIMIT)
    for event in rig.lastword.follow(generation):
        answer.apply(event)
        if not acted and not answer.done and len(answer.text) >= point.at:
            acted = True
            outcome.how = act(rig, point, hold)
    rig.server.wait()
    finish(rig, outcome, answer, reference)
    outcome.seconds = round(time.monotonic() - began, 2)
    return outcome


def act(rig, point, hold):
    if point.loss == "cut":
        how = HOW[point.at % len(HOW)]
        hold.lose(how)
        return how
    if point.loss == "kill lastword":
        rig.lastword.process.kill()
        hold.lose("reset")
        rig.lastword.process.start()
    else:
        rig.proxy.away()
        rig.server.kill()
        hold.lose("reset")
        rig.server.start(wait=False)
        rig.proxy.back_when_it_listens()
    return point.loss


def finish(rig, outcome, answer, reference):
    done = answer.done
    outcome.text, outcome.seams = answer.text, answer.seams
    outcome.status = f"{done['status']}/{done.get('finish_reason')}"
    outcome.error = (done.get("error") or {}).get("message", "")
    outcome.identical = answer.text in [r.text for r in (reference, *reference.others)]
    outcome.tokens = rig.count(answer.text)
    outcome.within_budget = outcome.tokens <= texts.LIMIT
    if done["status"] not in ("completed", "incomplete"):
        outcome.verdict = "failed"
    elif answer.restarts:
        outcome.verdict = "restarted"
    elif not answer.seams:
        outcome.verdict = "drifted"
    else:
        outcome.verdict = judge(reference, answer.text, answer.seams[0])
