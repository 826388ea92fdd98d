"""openai and anthropic (PyPI) while the server that answers is killed: see tests/it/sdk/retries.rs. The SDKs try again
by themselves where an answer has not begun; where it has, the application repeats its request. No request has a key.
"""

import itertools
import os
import sys
import threading

import anthropic
import httpx
import openai

BASE = os.environ["BASE"]
OPENAI = openai.OpenAI(base_url=BASE, api_key="none", max_retries=9)
ANTHROPIC = anthropic.Anthropic(base_url=BASE.removesuffix("/v1"), api_key="none", max_retries=9)
# Each question is asked twice.
first_request = itertools.count(1, 2)


def tell(word):
    print(word, flush=True)
    assert sys.stdin.readline() == "done\n"


def started():
    """The ids of all generations of the model."""
    rows = httpx.get(f"{BASE}/generations?limit=100", timeout=60).json()["data"]
    return [row["id"] for row in rows if row["model"] == "dies"]


def user(text):
    return [{"role": "user", "content": text}]


def waits(call):
    """The result of a call under which the server is killed."""
    said = []
    thread = threading.Thread(target=lambda: said.append(call()))
    thread.start()
    tell(f"asked {next(first_request)}")
    tell("kill")
    thread.join()
    assert said, "it raised"
    return said[0]


def repeats(stream, text_of):
    """The text of a stream that is begun, cut by a kill, and asked for again by the application."""
    killed = False
    try:
        for event in stream():
            if text_of(event) and not killed:
                killed = True
                next(first_request)
                tell("kill")
    except (httpx.HTTPError, openai.APIError, anthropic.APIError) as error:
        print("cut:", type(error).__name__, file=sys.stderr)
    except Exception as error:
        # The HTTP library's own, which is httpx2 in newer SDKs.
        assert "httpx" in type(error).__module__, repr(error)
    assert killed
    return "".join(text_of(event) or "" for event in stream())


def chat_delta(chunk):
    return chunk.choices[0].delta.content if chunk.choices else None


def response_delta(event):
    return event.delta if event.type == "response.output_text.delta" else None


def message_delta(event):
    return event.delta.text if event.type == "content_block_delta" and event.delta.type == "text_delta" else None


def a_waited_for_completion():
    answer = waits(lambda: OPENAI.chat.completions.create(model="dies", messages=user("waited for")))
    return answer.choices[0].message.content


def a_waited_for_message():
    answer = waits(lambda: ANTHROPIC.messages.create(model="dies", max_tokens=99, messages=user("waited for")))
    assert answer.stop_reason == "end_turn", answer
    return answer.content[0].text


def a_streamed_completion_cut_before_its_head():
    def call():
        ask = lambda: OPENAI.chat.completions.create(model="dies", messages=user("no head"), stream=True)
        return "".join(chat_delta(chunk) or "" for chunk in ask())
    return waits(call)


def a_response_that_the_application_repeats():
    return repeats(lambda: OPENAI.responses.create(model="dies", input="begun", stream=True), response_delta)


def a_message_that_the_application_repeats():
    ask = lambda: ANTHROPIC.messages.create(model="dies", max_tokens=99, messages=user("begun"), stream=True)
    return repeats(ask, message_delta)


CASES = [
    a_waited_for_completion,
    a_waited_for_message,
    a_streamed_completion_cut_before_its_head,
    a_response_that_the_application_repeats,
    a_message_that_the_application_repeats,
]
for count, case in enumerate(CASES, 1):
    assert (said := case()) == "One two three.", (case.__name__, said)
    tell("heal")
    assert len(started()) == count, (case.__name__, started())
    print("ok", case.__name__, flush=True)


# What a model's server answers, and the class of it here. 529 is a limit that one may wait for.
CLASSES = {
    400: anthropic.BadRequestError, 401: anthropic.AuthenticationError, 403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError, 413: anthropic.APIStatusError, 422: anthropic.UnprocessableEntityError,
    429: anthropic.RateLimitError, 503: anthropic.InternalServerError, 529: anthropic.RateLimitError,
}
once = ANTHROPIC.with_options(max_retries=0)
for status, kind in CLASSES.items():
    for ask in (once.messages.create, lambda **body: list(once.messages.create(stream=True, **body))):
        try:
            ask(model="dies", max_tokens=9, messages=user(f"status {status}"))
        except anthropic.APIStatusError as error:
            assert isinstance(error, kind), (status, repr(error))
            assert error.request_id.startswith("req_") and error.body["error"]["type"], (status, error.body)
            retries = error.response.headers["x-should-retry"]
            assert retries == str(status in (429, 503, 529)).lower(), (status, retries)
        else:
            raise AssertionError(f"{status} did not raise")
