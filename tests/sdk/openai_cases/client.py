"""The client of all cases, and what they share."""

import os
import sys

from openai import OpenAI

BASE = os.environ["BASE"]
client = OpenAI(base_url=BASE, api_key="none", max_retries=0)
KILLS = os.environ.get("KILLS") == "1"
MODELS = os.environ.get("MODELS") == "1"


def tell(word):
    print(word, flush=True)
    assert sys.stdin.readline() == "done\n"


def dump(events):
    return [event.to_dict() for event in events]


def text_of(events):
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


def numbered(events, first=0):
    numbers = [e.sequence_number for e in events]
    assert numbers == list(range(first, first + len(events))), numbers


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected")
