"""openai and anthropic (PyPI) while the server that answers is killed: see tests/it/sdk/retries.rs.

The SDKs try again by themselves where an answer has not begun; where it has, the application repeats its request. No
request has a key. All questions are asked at once, so that one kill meets them all.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore

import anthropic
import openai

BASE = os.environ["BASE"]
OPENAI = openai.OpenAI(base_url=BASE, api_key="none", max_retries=9)
ANTHROPIC = anthropic.Anthropic(base_url=BASE.removesuffix("/v1"), api_key="none", max_retries=9)
BEGUN, KILLED = Semaphore(0), Event()


def user(text):
    return [{"role": "user", "content": f"q=python {text};"}]


def chat_text(chunk):
    return chunk.choices[0].delta.content if chunk.choices else None


def message_text(event):
    return event.delta.text if event.type == "content_block_delta" and event.delta.type == "text_delta" else None


def all_of(stream, text_of):
    return "".join(text_of(event) or "" for event in stream)


def repeated(ask, text_of):
    """The text of a stream that is begun, cut by the kill, and asked for again by the application."""
    begun = False
    try:
        for event in ask():
            if text_of(event) and not begun:
                begun = True
                BEGUN.release()
    except Exception as error:
        # Some are the HTTP library's own, and no class of the SDK's.
        known = isinstance(error, (openai.APIError, anthropic.APIError)) or "httpx" in type(error).__module__
        assert known, repr(error)
    assert begun
    KILLED.wait()
    return all_of(ask(), text_of)


def a_completion_waited_for():
    answer = OPENAI.chat.completions.create(model="dies", messages=user("completion waited for"))
    assert answer.choices[0].finish_reason == "stop", answer
    return answer.choices[0].message.content


def a_message_waited_for(model="dies"):
    ask = {"model": model, "max_tokens": 99, "messages": user(f"message of {model} waited for")}
    answer = ANTHROPIC.messages.create(**ask)
    assert answer.stop_reason == "end_turn", answer
    return answer.content[0].text


def a_message_of_anthropics_server_waited_for():
    return a_message_waited_for("claude")


def a_completion_cut_before_its_head():
    ask = {"model": "dies", "messages": user("completion with no head")}
    return all_of(OPENAI.chat.completions.create(**ask, stream=True), chat_text)


def a_message_cut_before_its_head():
    ask = {"model": "dies", "max_tokens": 99, "messages": user("message with no head")}
    with ANTHROPIC.messages.stream(**ask) as stream:
        return stream.get_final_text()


def a_completion_that_the_application_repeats():
    ask = {"model": "goes-on", "messages": user("completion that is begun"), "stream": True}
    return repeated(lambda: OPENAI.chat.completions.create(**ask), chat_text)


def a_message_that_the_application_repeats():
    ask = {"model": "goes-on", "max_tokens": 99, "messages": user("message that is begun"), "stream": True}
    return repeated(lambda: ANTHROPIC.messages.create(**ask), message_text)


REPEATED = [a_completion_that_the_application_repeats, a_message_that_the_application_repeats]
CASES = REPEATED + [
    a_completion_waited_for,
    a_message_waited_for,
    a_message_of_anthropics_server_waited_for,
    a_completion_cut_before_its_head,
    a_message_cut_before_its_head,
]
with ThreadPoolExecutor(len(CASES)) as pool:
    answers = [(case.__name__, pool.submit(case)) for case in CASES]
    for _ in REPEATED:
        assert BEGUN.acquire(timeout=50)
    print("begun", len(CASES), flush=True)
    assert sys.stdin.readline() == "killed\n"
    KILLED.set()
    for name, answer in answers:
        assert answer.result() == "One two three.", (name, answer.result())
        print("ok", name, flush=True)

# What a model's server answers, and the class of it here.
CLASSES = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    413: anthropic.RequestTooLargeError,
    422: anthropic.UnprocessableEntityError,
    429: anthropic.RateLimitError,
    503: anthropic.ServiceUnavailableError,
    529: anthropic.OverloadedError,
}
once = ANTHROPIC.with_options(max_retries=0)
for status, kind in CLASSES.items():
    ask = {"model": "refuses", "max_tokens": 9, "messages": [{"role": "user", "content": f"status={status};"}]}
    for stream in (False, True):
        try:
            once.messages.create(**ask, stream=stream)
        except anthropic.APIStatusError as error:
            assert isinstance(error, kind), (status, repr(error))
            assert error.request_id.startswith("req_") and error.body["error"]["type"], (status, error.body)
            retries = error.response.headers["x-should-retry"]
            assert retries == str(status in (429, 503, 529)).lower(), (status, retries)
        else:
            raise AssertionError(f"{status} did not raise")
print("ok errors of each status", flush=True)
