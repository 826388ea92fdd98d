"""Trials beside losses: plain answers, cancel, a full window, structured output (`structured.py`), and the limit of an answer.

Each returns (name, whether it is as promised, what was seen).
"""

import itertools
import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import structured
import texts
from lastword import Answer


def answer_of(rig, generation, limit_s=600):
    answer = Answer()
    for event in rig.lastword.follow(generation, limit_s):
        answer.apply(event)
    return answer


def plain(rig, references):
    """Through lastword the text is what the server says without it, and the usage is exact."""
    def ask(wanted):
        return answer_of(rig, rig.lastword.begin(wanted.prompt, max_output_tokens=texts.LIMIT))

    with ThreadPoolExecutor(rig.slots) as pool:
        answers = list(pool.map(ask, references.values()))
    same = sum(a.text in [r.text for r in (w, *w.others)] for a, w in zip(answers, references.values()))
    exact = sum(a.done["usage"]["exact"] for a in answers)
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


def budget(rig, references, number=12):
    """Cut once, an answer that is ended by its limit is not longer than that."""
    wanted = max(references.values(), key=lambda r: len(r.tokens))
    limit = len(wanted.tokens) // 2

    def cut(i):
        mark = 200_000 + i
        hold = rig.proxy.arm(len(wanted.text) * (i + 1) // (3 * number) + 2, recut=i % 2 == 1, mark=mark)
        threading.Thread(target=lambda: hold.reached.wait(300) and hold.lose("reset"), daemon=True).start()
        return rig.count(answer_of(rig, rig.begin(wanted.prompt, mark, max_output_tokens=limit)).text)

    with ThreadPoolExecutor(rig.slots) as pool:
        tokens = list(pool.map(cut, range(number)))
    over, short = [n for n in tokens if n > limit], [n for n in tokens if n < limit - 2]
    return "budget", not over, f"limit {limit}, {number} losses: {len(over)} longer {over}, {len(short)} more than 2 shorter {short}"


def all_of(rig, references):
    yield plain(rig, references)
    yield cancel(rig, references)
    yield overflow(rig, references)
    yield from structured.all_of(rig, itertools.count(100_000))
    yield budget(rig, references)
