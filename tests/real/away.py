"""A model server that is killed under 20 running answers and back a minute later."""

import threading
import time
from collections import Counter

import texts
from lastword import Answer
from seam import judge

AWAY_S = 60
AT_ONCE = 20


class Readers:
    """One thread for each answer; `begun` counts those that have text."""

    def __init__(self, rig, wanted):
        self.rig, self.answers = rig, [Answer() for _ in wanted]
        self.threads = [threading.Thread(target=self.read, args=(i, w)) for i, w in enumerate(wanted)]
        for thread in self.threads:
            thread.start()

    def read(self, i, wanted):
        generation = self.rig.lastword.begin(wanted.prompt, max_output_tokens=texts.LIMIT)
        for event in self.rig.lastword.follow(generation, 1200):
            self.answers[i].apply(event)

    def begun(self):
        return sum(bool(a.text) for a in self.answers)

    def join(self):
        for thread in self.threads:
            thread.join()


def away(rig, references):
    """All answers end whole, joined without a seam and within their limit."""
    names = sorted(references, key=lambda n: -len(references[n].tokens))[: AT_ONCE // 4]
    wanted = [references[names[i % len(names)]] for i in range(AT_ONCE)]
    readers = Readers(rig, wanted)
    while readers.begun() < AT_ONCE and not any(a.done for a in readers.answers):
        time.sleep(0.05)
    begun, ended = readers.begun(), sum(bool(a.done) for a in readers.answers)
    rig.proxy.away()
    rig.server.kill()
    time.sleep(AWAY_S)
    rig.server.start(wait=False)
    rig.proxy.back_when_it_listens()
    readers.join()
    rig.server.wait()
    return summary(rig, wanted, readers.answers, f"{begun} had text, {ended} had ended")


def summary(rig, wanted, answers, when):
    ends = Counter(f"{a.done['status']}/{a.done.get('finish_reason')}" for a in answers)
    whole = sum(a.done["status"] == "completed" for a in answers)
    joined = Counter(judge(w, a.text, a.seams[0]) for w, a in zip(wanted, answers) if a.seams)
    over = [n for n in (rig.count(a.text) for a in answers) if n > texts.LIMIT]
    errors = {a.done["error"]["message"] for a in answers if a.done.get("error")}
    seen = f"{when}; ends {dict(ends)}, joints {dict(joined)}, {sum(a.restarts for a in answers)} restarted, {len(over)} over the limit {errors or ''}"
    fine = whole == len(answers) and not over and not joined["fault"]
    return f"away for {AWAY_S} s under {len(answers)} answers", fine, seen
