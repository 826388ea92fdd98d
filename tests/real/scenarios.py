"""Trials beside losses: plain answers, cancel, a full window, structured output, and the limit of an answer.

Each returns (name, whether it is as promised, what was seen).
"""

import json
import threading
import time
import urllib.request

import reference
import texts
from lastword import Answer


def answer_of(rig, generation, limit_s=600):
    answer = Answer()
    for event in rig.lastword.follow(generation, limit_s):
        answer.apply(event)
    return answer


def plain(rig, references):
    """Through lastword the text is what the server says without it, and the usage is exact."""
    same, exact = 0, 0
    for wanted in references.values():
        answer = answer_of(rig, rig.lastword.begin(wanted.prompt, max_output_tokens=texts.LIMIT))
        same += answer.text in [r.text for r in (wanted, *wanted.others)]
        exact += answer.done["usage"]["exact"]
    number = len(references)
    return "plain answers", same == number == exact, f"{same} of {number} the direct text, usage exact in {exact}"


def busy(rig):
    """Whether llama.cpp computes anything."""
    with urllib.request.urlopen(f"http://127.0.0.1:{rig.direct}/slots", timeout=30) as answer:
        return any(slot["is_processing"] for slot in json.load(answer))


def cancel(rig, references):
    """Behind the receipt of a cancel the server computes nothing."""
    wanted = max(references.values(), key=lambda r: len(r.tokens))
    generation = rig.lastword.begin(wanted.prompt, max_output_tokens=texts.LIMIT)
    answer = Answer()
    for event in rig.lastword.follow(generation):
        answer.apply(event)
        if len(answer.text) > 20:
            break
    _, receipt = rig.lastword.ask("POST", f"/v1/generations/{generation}/cancel")
    began = time.monotonic()
    while busy(rig) and time.monotonic() - began < 10:
        time.sleep(0.02)
    idle = time.monotonic() - began
    fine = receipt.get("status") == "cancelled" and receipt["text"].startswith(answer.text) and idle < 2
    return "cancel", fine, f"{receipt.get('status')}, idle {idle:.2f} s behind the receipt"


def overflow(rig, references):
    """A prompt beyond the window is refused by name, and an answer that fills it ends as such."""
    body = {"model": "real", "messages": [{"role": "user", "content": "word " * 3000}], "max_tokens": 20}
    status, answer = rig.lastword.ask("POST", "/v1/chat/completions", body)
    code = (answer.get("error") or {}).get("code") if isinstance(answer, dict) else answer
    long = rig.lastword.begin(texts.ENDLESS, max_output_tokens=2000)
    done = answer_of(rig, long).done
    why = (done.get("error") or {}).get("message", "")
    fine = (status, code) == (400, "context_length_exceeded") and done["status"] == "incomplete"
    return "overflow", fine, f"{status} {code}; in mid-answer {done['status']}/{done.get('finish_reason')} {why}"


def structured(rig, number=8):
    """JSON by a schema, lost at `number` characters: what comes is JSON by that schema."""
    ask = {"response_format": texts.SCHEMA}
    wanted = reference.take(rig.direct, texts.JSON_PROMPT, 200, more=ask)
    json.loads(wanted.text)
    broken, same, step = [], 0, max(1, (len(wanted.text) - 4) // number)
    places = list(range(2, len(wanted.text) - 2, step))[:number]
    for at in places:
        rig.server.wait()
        hold = rig.proxy.arm(at, recut=at % 2 == 0)
        threading.Thread(target=lambda h=hold: h.reached.wait(60) and h.lose("reset"), daemon=True).start()
        body = {"model": "real", "messages": [{"role": "user", "content": texts.JSON_PROMPT}], "max_tokens": 200, "temperature": 0, "seed": 1}
        status, answer = rig.lastword.ask("POST", "/v1/chat/completions", body | ask)
        text = answer["choices"][0]["message"]["content"] if status == 200 else str(answer)
        same += text == wanted.text
        try:
            value = json.loads(text)
            if set(value) != {"name", "age", "hobbies"}:
                broken.append(text)
        except ValueError:
            broken.append(text)
    return "structured output", not broken, f"{len(places)} losses, {len(broken)} broken, {same} identical {broken[:2] or ''}"


def budget(rig, references, number=12):
    """Cut once, an answer that is ended by its limit is not longer than that."""
    wanted = max(references.values(), key=lambda r: len(r.tokens))
    over, short, limit = [], [], len(wanted.tokens) // 2
    for i in range(number):
        rig.server.wait()
        at = len(wanted.text) * (i + 1) // (3 * number) + 2
        hold = rig.proxy.arm(at, recut=i % 2 == 1)
        generation = rig.lastword.begin(wanted.prompt, max_output_tokens=limit)
        threading.Thread(target=lambda h=hold: h.reached.wait(60) and h.lose("reset"), daemon=True).start()
        tokens = rig.count(answer_of(rig, generation).text)
        over += [tokens] if tokens > limit else []
        short += [tokens] if tokens < limit - 2 else []
    return "budget", not over, f"limit {limit}, {number} losses: {len(over)} longer {over}, {len(short)} more than 2 shorter {short}"


def all_of(rig, references):
    yield plain(rig, references)
    yield cancel(rig, references)
    yield overflow(rig, references)
    yield structured(rig)
    yield budget(rig, references)
