"""Errors and their classes, and models that fail or begin again."""

import openai
from openai import OpenAI, Stream
from openai.types.chat import ChatCompletionChunk

from .client import BASE, MODELS, client, dump, numbered, raises, text_of


def errors_have_their_class():
    ask = [{"role": "user", "content": "hi"}]
    chat = client.chat.completions.create
    error = raises(openai.NotFoundError, lambda: chat(model="gpt-9", messages=ask))
    assert error.code == "model_not_found" and error.param == "model", error
    raises(openai.NotFoundError, lambda: client.responses.retrieve("resp_unknown"))
    error = raises(openai.BadRequestError, lambda: chat(model="demo", messages=ask, functions=[{"name": "f"}]))
    assert error.param == "functions" and error.type == "invalid_request_error", error
    error = raises(
        openai.NotFoundError,
        lambda: client.responses.create(model="demo", input="x", conversation="c"),
    )
    assert error.param == "conversation", error
    error = raises(openai.BadRequestError, lambda: chat(model="demo", messages=ask, temperature="hot"))
    assert error.param == "temperature", error
    stranger = OpenAI(base_url=BASE, api_key="lw_" + "0" * 43, max_retries=0)
    error = raises(openai.AuthenticationError, lambda: stranger.responses.retrieve("resp_1"))
    assert error.code == "invalid_api_key", error
    names = [model.id for model in client.models.list()]
    assert "demo" in names and client.models.retrieve("demo").id == "demo"
    raises(openai.NotFoundError, lambda: client.models.retrieve("no/such"))


def an_upstream_that_says_no():
    ask = [{"role": "user", "content": "hi"}]
    chat = client.chat.completions.create
    error = raises(openai.RateLimitError, lambda: chat(model="limited", messages=ask))
    assert error.code == "rate_limit_exceeded", error
    raises(openai.RateLimitError, lambda: client.responses.create(model="limited", input="hi"))
    seen = []

    def stream():
        for chunk in chat(model="broken", messages=ask, stream=True):
            seen.append(chunk)

    error = raises(openai.APIError, stream)
    assert seen[1].choices[0].delta.content == "Hel", seen
    assert error.code == "upstream_unavailable", error
    events = list(client.responses.create(model="broken", input="hi", stream=True))
    numbered(events)
    assert events[-1].type == "response.failed", events[-1]
    assert events[-1].response.error.code == "server_error"
    assert text_of(events) == "Hel"


def an_answer_that_begins_again():
    with client.responses.stream(model="restarts", input="hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    numbered(events)
    items = [e.item for e in events if e.type == "response.output_item.done"]
    assert [item.status for item in items] == ["incomplete", "completed"], items
    assert items[0].content[0].text == "Once" and final.output_text == "Hello", final
    assert [item.id for item in final.output] == [items[1].id]
    assert dump(client.responses.retrieve(final.id, stream=True)) == dump(
        client.responses.retrieve(final.id, stream=True)
    )

    seen = []

    def chat():
        for chunk in client.chat.completions.create(
            model="restarts",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            extra_headers={"Lastword-On-Disconnect": "continue"},
        ):
            seen.append(chunk)

    error = raises(openai.APIError, chat)
    assert error.code == "superseded", error
    after = error.body["sequence_number"] if "sequence_number" in error.body else len(seen)
    rest = client.get(
        f"/chat/completions/{seen[0].id}",
        cast_to=ChatCompletionChunk,
        options={"params": {"stream": "true", "starting_after": after}},
        stream=True,
        stream_cls=Stream[ChatCompletionChunk],
    )
    assert "".join(c.choices[0].delta.content or "" for c in rest) == "Hello"
    replay = client.get(
        f"/chat/completions/{seen[0].id}",
        cast_to=ChatCompletionChunk,
        options={"params": {"stream": "true"}},
        stream=True,
        stream_cls=Stream[ChatCompletionChunk],
    )
    assert "".join(c.choices[0].delta.content or "" for c in replay) == "Hello"


CASES = [
    errors_have_their_class,
]
if MODELS:
    CASES += [an_upstream_that_says_no, an_answer_that_begins_again]
