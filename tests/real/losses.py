"""Answers, each lost once at a chosen character, and what became of them."""

import random
import threading
import time
from dataclasses import asdict, dataclass, field

import texts
from held import HOW
from lastword import Answer
from seam import WINDOW, judge

LOSSES = ["cut", "kill the model server", "kill lastword"]
TOKENS = 32  # of an undisturbed text: most of a longer one would be paid for and not looked at
MORE = 8  # tokens that an answer may have above that, so that none is ended before it has all of that text
THERE_S = 900  # for the answers of a group to be at their points
TAGS = ["<think>", "</think>"]  # lastword holds the possible beginning of one back, on the chat wire


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

    def line(self):
        where = f"{self.point.prompt} {self.point.at} {'border' if self.point.border else 'off'}"
        return f"{where} {self.verdict} {self.status} {self.seconds} {self.error[:80]}"


def points(references, loss, number, seed):
    """`number` places, every other at a token border, over the prompts in turn; the same for the same seed. So a run that is
    ended by its time has them mixed as well."""
    chance = random.Random(f"{seed} {loss}")
    places = {True: {}, False: {}}
    for name, reference in sorted(references.items()):
        borders = reference.borders()
        # Behind a point there is all that is compared.
        for at in range(2, len(reference.text) - (WINDOW if reference.finish == "length" else 4)):
            places[at in borders].setdefault(name, []).append(at)
    chosen, left = [], {True: {}, False: {}}
    for i in range(number):
        border = i % 2 == 0
        name = list(places[border])[i // 2 % len(places[border])]
        # No place comes twice before each has come once.
        if not left[border].get(name):
            left[border][name] = chance.sample(places[border][name], len(places[border][name]))
        at = left[border][name].pop()
        chosen.append(Point(loss, name, at, border, texts.kind(references[name].text, at)))
    return chosen


def told(text, at):
    """How many of the first `at` characters a reader gets while nothing follows."""
    return next(n for n in range(at + 1) if n == at or any(tag.startswith(text[n:at]) for tag in TAGS))


class Job(threading.Thread):
    """One answer: `there` is set once its reader has the text up to the point, or the answer has ended before."""

    def __init__(self, rig, point, reference, mark):
        super().__init__(daemon=True)
        self.rig, self.point, self.reference, self.mark = rig, point, reference, mark
        self.outcome, self.answer = Outcome(rig.name, point, point.loss), Answer()
        self.hold = rig.proxy.arm(point.at, recut=not point.border, mark=mark)
        # A character may have several tokens.
        self.limit = rig.count(reference.text) + MORE
        self.there = threading.Event()
        self.told = told(reference.text, point.at) if rig.settings["provider"] == "openai" else point.at

    def run(self):
        try:
            with self.rig.places:
                self.began = time.monotonic()
                self.read()
        except (OSError, TimeoutError, RuntimeError) as error:
            self.outcome.error = f"the harness: {error!r}"
        finally:
            self.there.set()
            self.hold.decided.set()

    def begin(self):
        return self.rig.begin(self.reference.prompt, self.mark, max_output_tokens=self.limit)

    def read(self):
        for event in self.rig.lastword.follow(self.begin(), 1800):
            self.answer.apply(event)
            if not self.there.is_set() and (self.answer.done or len(self.answer.text) >= self.told):
                self.there.set()
                if self.point.loss == "cut":
                    self.lose(HOW[self.point.at % len(HOW)])
        self.outcome.seconds = round(time.monotonic() - self.began, 2)

    def lose(self, how):
        self.outcome.how = how
        self.hold.lose(how if how in HOW else "reset")


def together(rig, points, references, marks, job=Job):
    """The outcomes of several points of one kind of loss: a program is killed under all of them at once. Where only connections
    are cut there may be more than the server has slots: the next begins as soon as one is free."""
    rig.server.wait()
    jobs = [job(rig, point, references[point.prompt], next(marks)) for point in points]
    for job in jobs:
        job.start()
    if points[0].loss != "cut":
        end = time.monotonic() + THERE_S
        for job in jobs:
            if not job.there.wait(max(0, end - time.monotonic())):
                print(f"not at its point after {THERE_S} s: {job.point}, {len(job.answer.text)} characters", flush=True)
        kill(rig, jobs, points[0].loss)
    for job in jobs:
        job.join()
    rig.server.wait()
    for job in jobs:
        if job.answer.done:
            finish(rig, job)
    return [job.outcome for job in jobs]


def kill(rig, jobs, loss):
    program = rig.lastword.process if loss == "kill lastword" else rig.server
    if program is rig.server:
        rig.proxy.away()
    program.kill()
    for job in jobs:
        job.lose(loss)
    if program is rig.server:
        program.start(wait=False)
        rig.proxy.back_when_it_listens()
    else:
        program.start()


def finish(rig, job):
    outcome, answer, reference = job.outcome, job.answer, job.reference
    done = answer.done
    outcome.text, outcome.seams = answer.text, answer.seams
    outcome.status = f"{done['status']}/{done.get('finish_reason')}"
    outcome.error = (done.get("error") or {}).get("message", "")
    outcome.identical = any(r.begins(answer.text) for r in (reference, *reference.others))
    outcome.tokens = rig.count(answer.text)
    outcome.within_budget = outcome.tokens <= job.limit
    if done["status"] not in ("completed", "incomplete"):
        outcome.verdict = "failed"
    elif answer.restarts:
        outcome.verdict = "restarted"
    elif not answer.seams:
        outcome.verdict = "drifted"
    else:
        outcome.verdict = judge(reference, answer.text, answer.seams[0])
