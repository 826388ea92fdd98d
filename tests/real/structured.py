"""JSON by a schema, lost at many characters: what comes in the end is JSON by that schema, however it goes on."""

import json
import random

import losses
import reference
import texts

PLACES = 16
ASK = {"response_format": texts.SCHEMA}
LIMIT = 250


class Job(losses.Job):
    """Over chat completions: lastword's own protocol has no such format."""

    def begin(self):
        body = {"messages": [{"role": "user", "content": self.reference.prompt}], "max_tokens": LIMIT, **ASK}
        return self.rig.lastword.begin_chat(self.model, **body, **self.rig.marked(self.mark))


def all_of(rig, marks):
    """(name, whether none is broken, what was seen) for each model of the rig and each loss."""
    wanted = reference.take(rig.direct, texts.JSON_PROMPT, LIMIT, more=ASK)
    assert fits(wanted.text), wanted.text
    for model in rig.models:
        job = type("Job", (Job,), {"model": model})
        for loss in losses.LOSSES:
            yield lost(rig, wanted, job, loss, marks)


def lost(rig, wanted, job, loss, marks):
    chance = random.Random(f"json {loss}")
    places = chance.sample(range(2, len(wanted.text) - 2), min(PLACES, rig.slots))
    points = [losses.Point(loss, "json", at, i % 2 == 0, "JSON") for i, at in enumerate(places)]
    outcomes = losses.together(rig, points, {"json": wanted}, marks, job)
    broken = [o.text or o.error for o in outcomes if not fits(o.text)]
    same = sum(o.text == wanted.text for o in outcomes)
    anew = sum(o.verdict == "restarted" for o in outcomes)
    words = f"{len(outcomes)} losses, {len(broken)} broken, {same} identical, {anew} begun anew {broken[:2] or ''}"
    return f"structured output, {rig.models[job.model]}, {loss}", not broken, words


def fits(text):
    """Whether it is JSON with the fields of the schema."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and set(value) == {"name", "age", "hobbies"}
