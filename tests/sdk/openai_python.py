"""openai (PyPI) against two instances behind a dumb proxy: see tests/it/sdk.rs.

Every case is a function; the process ends with an error at the first that fails. `tell` asks the
test that runs it to kill the instance that owns a generation, and waits until that is done.
"""

import json
import os
import sys

import openai
from openai import OpenAI, Stream
from openai.types.chat import ChatCompletionChunk

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


def responses_in_one_piece():
    response = client.responses.create(
        model="demo",
        input="/demo tokens=20 tps=0 seed=1",
        instructions="be brief",
        metadata={"a": "b"},
        max_output_tokens=100,
        temperature=0.5,
        store=True,
        user="somebody",
        service_tier="auto",
        parallel_tool_calls=True,
        truncation="disabled",
        reasoning={"summary": "auto"},
    )
    assert response.status == "completed" and response.id.startswith("resp_"), response
    assert response.output_text and response.usage.output_tokens == 20
    assert response.instructions == "be brief" and response.metadata == {"a": "b"}
    assert response.temperature == 0.5 and response.max_output_tokens == 100
    again = client.responses.retrieve(response.id)
    assert again == response, (again, response)
    items = client.responses.input_items.list(response.id)
    assert [item.role for item in items] == ["user", "system"], "the newest first"
    first = client.responses.input_items.list(response.id, order="asc", limit=1)
    assert first.data[0].role == "system" and first.has_more
    # The SDK's own pager asks by `after` until it has all.
    assert [item.role for item in first] == ["system", "user"]


def completions_of_a_prompt():
    ask = {"model": "demo", "prompt": "/demo tokens=20 tps=0 seed=4 unicode"}
    whole = client.completions.create(**ask)
    assert whole.object == "text_completion" and whole.choices[0].finish_reason == "stop", whole
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(client.completions.create(**ask, stream=True, stream_options=options))
    said = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].text and said, (said, whole)
    assert chunks[-1].usage == whole.usage, (chunks[-1], whole)
    assert all(chunk.usage.total_tokens > 0 for chunk in chunks)
    refused = raises(openai.BadRequestError, lambda: client.completions.create(**ask, suffix="x"))
    assert refused.param == "suffix", refused.body
    if MODELS:
        ask["model"] = "limited"
        raises(openai.RateLimitError, lambda: client.completions.create(**ask))


def a_conversation_is_kept_and_gone_on_with():
    message = {"type": "message", "role": "user", "content": "one"}
    made = client.conversations.create(items=[message], metadata={"a": "b"})
    assert made.object == "conversation" and made.metadata == {"a": "b"}, made
    assert isinstance(made.created_at, int)
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    added = client.conversations.items.create(made.id, items=[call, output])
    assert [item.type for item in added.data] == ["function_call", "function_call_output"]
    ask = {"model": "demo", "conversation": made.id, "input": "/demo tokens=3 tps=0 reasoning seed=1"}
    response = client.responses.create(**ask)
    assert response.conversation.id == made.id and response.output_text, response
    streamed = list(client.responses.create(**{**ask, "input": "/demo tokens=2 tps=0"}, stream=True))
    assert streamed[-1].type == "response.completed"
    kinds = ["message", "function_call", "function_call_output", "message", "reasoning", "message"]
    kinds += ["message", "message"]
    # The SDK's own pager, by `after`.
    items = list(client.conversations.items.list(made.id, order="asc", limit=2))
    assert [item.type for item in items] == kinds, items
    assert items[5].content[0].text == response.output_text
    assert client.conversations.items.retrieve(items[5].id, conversation_id=made.id) == items[5]
    client.conversations.items.delete(items[-1].id, conversation_id=made.id)
    count = client.responses.input_tokens.count
    below = count(model="demo", conversation=made.id, input="four").input_tokens
    assert below == count(model="demo", conversation=made.id).input_tokens + 1 > 1, below
    newest = client.conversations.items.list(made.id, limit=1)
    assert newest.data[0].id == items[-2].id and newest.has_more
    assert client.conversations.update(made.id, metadata={"c": "d"}).metadata == {"c": "d"}
    assert client.conversations.retrieve(made.id).metadata == {"c": "d"}
    gone = client.conversations.delete(made.id)
    assert gone.deleted and gone.object == "conversation.deleted"
    error = raises(openai.NotFoundError, lambda: client.conversations.retrieve(made.id))
    assert error.code == "not_found" and "conversation" in error.message, error
    error = raises(openai.NotFoundError, lambda: client.responses.create(**ask))
    assert error.param == "conversation", error.body


def responses_streamed_and_resumed_anywhere():
    stream = client.responses.create(
        model="demo", input="/demo tokens=30 tps=200 reasoning tool_call unicode seed=2", stream=True
    )
    events = list(stream)
    numbered(events)
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    final = events[-1].response
    assert final.output_text == text_of(events)
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    everything = dump(events)
    for after in [0, 1, 5, len(events) // 2, len(events) - 2, len(events) - 1]:
        rest = client.responses.retrieve(final.id, stream=True, starting_after=after)
        assert dump(rest) == everything[after + 1 :], after
    assert dump(client.responses.retrieve(final.id, stream=True)) == everything
    ahead = client.responses.retrieve
    error = raises(
        openai.BadRequestError, lambda: ahead(final.id, stream=True, starting_after=len(events))
    )
    assert error.code == "cursor_ahead", error


def responses_in_the_background_and_cancelled():
    response = client.responses.create(
        model="demo", input="/demo tokens=100000 tps=100", background=True
    )
    assert response.status in ("queued", "in_progress") and response.background
    stream = client.responses.retrieve(response.id, stream=True)
    seen = [next(stream) for _ in range(20)]
    assert [e.type for e in seen[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    cancelled = client.responses.cancel(response.id)
    assert cancelled.status == "cancelled", cancelled
    seen += list(stream)
    numbered(seen)
    assert seen[-1].type == "response.incomplete" and seen[-1].response.status == "cancelled"
    assert seen[-1].response.output_text == cancelled.output_text == text_of(seen)
    assert client.responses.cancel(response.id) == cancelled
    client.responses.delete(response.id)
    raises(openai.NotFoundError, lambda: client.responses.retrieve(response.id))


def the_helper_resumes_by_a_full_replay():
    response = client.responses.create(
        model="demo", input="/demo tokens=40 tps=100 seed=3", background=True
    )
    with client.responses.stream(response_id=response.id, starting_after=5) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert events[0].sequence_number == 6 and events[-1].type == "response.completed"
    assert final.output_text and final.status == "completed"


def a_killed_instance_is_not_noticed_but_for_a_pause():
    stream = client.responses.create(
        model="demo", input="/demo tokens=300 tps=100 ttft_ms=0 seed=8", stream=True, background=True
    )
    seen = []
    for event in stream:
        seen.append(event)
        if len(seen) == 40:
            break
    tell("kill " + seen[0].response.id)
    try:
        for event in stream:
            seen.append(event)
    except openai.APIConnectionError:
        pass
    else:
        raise AssertionError("the connection was cut")
    last = seen[-1].sequence_number
    for event in client.responses.retrieve(
        seen[0].response.id, stream=True, starting_after=last
    ):
        seen.append(event)
    numbered(seen)
    assert seen[-1].type == "response.completed", seen[-1]
    assert seen[-1].response.output_text == text_of(seen)
    replay = client.responses.retrieve(seen[0].response.id, stream=True)
    assert dump(replay) == dump(seen)
    tell("heal")


def earlier_turns_are_counted_and_become_one_item():
    first = client.responses.create(model="demo", input="/demo tokens=30 tps=0")
    ask = {"model": "demo", "previous_response_id": first.id}
    counted = client.responses.input_tokens.count(**ask)
    assert counted.object == "response.input_tokens" and counted.input_tokens > 5, counted
    compacted = client.responses.compact(**ask, input="and then?")
    assert compacted.object == "response.compaction", compacted
    assert [item.type for item in compacted.output] == ["message", "message", "compaction"]
    # The client reads leniently; the types themselves do not.
    for part in (compacted.usage, compacted.output[-1]):
        type(part).model_validate(part.to_dict(), strict=True)
    again = [*(item.to_dict() for item in compacted.output), {"role": "user", "content": "/demo tokens=3 tps=0"}]
    assert client.responses.create(model="demo", input=again).status == "completed"
    again = client.responses.compact(model="demo", input=again)
    assert again.output[-1].type == "compaction"


def read_to_the_end(connection):
    events = []
    for event in connection:
        assert event.type != "error", event
        events.append(event)
        if event.type in ("response.completed", "response.incomplete", "response.failed"):
            return events
    raise AssertionError("the connection was closed")


def responses_over_a_socket():
    with client.responses.connect() as connection:
        connection.response.create(
            model="demo", input=[], instructions="be brief", generate=False, store=False
        )
        warm = read_to_the_end(connection)[-1].response
        assert warm.status == "completed" and warm.output == [], warm
        connection.response.create(
            model="demo",
            input="/demo tokens=20 tps=0 seed=1",
            previous_response_id=warm.id,
            stream_id="lane",
        )
        events = read_to_the_end(connection)
        numbered(events)
        assert all(event.stream_id == "lane" for event in events)
        final = events[-1].response
        assert final.output_text == text_of(events) and final.usage.output_tokens == 20
        assert client.responses.retrieve(final.id).output_text == final.output_text
        connection.response.create(model="no-such", input="x")
        error = connection.recv()
        assert error.type == "error" and error.status == 404, error
        assert error.error.code == "model_not_found", error
        connection.response.steer(input="more", previous_response_id=final.id)
        steered = connection.recv()
        assert steered.type == "response.steer.failed", steered
        assert steered.steer.input == "more" and steered.steer.previous_response_id == final.id
        connection.response.create(
            model="demo", input="/demo tokens=2 tps=0", previous_response_id=final.id, store=False
        )
        assert read_to_the_end(connection)[-1].response.previous_response_id == final.id


def a_socket_that_is_cut_is_resumed_elsewhere():
    seen = []
    with client.responses.connect() as connection:
        connection.response.create(
            model="demo", input="/demo tokens=300 tps=100 ttft_ms=0 seed=9"
        )
        while len(seen) < 40:
            seen.append(connection.recv())
        tell("kill " + seen[0].response.id)
        try:
            for event in connection:
                seen.append(event)
        except Exception as error:
            assert "AssertionError" not in repr(error), error
    with client.responses.connect() as connection:
        ask = {
            "type": "response.retrieve",
            "response_id": seen[0].response.id,
            "starting_after": seen[-1].sequence_number,
        }
        connection.send_raw(json.dumps(ask))
        seen += read_to_the_end(connection)
    numbered(seen)
    assert seen[-1].type == "response.completed", seen[-1]
    assert seen[-1].response.output_text == text_of(seen)
    tell("heal")


def a_turn_goes_on_below_another():
    tools = [{"type": "function", "name": "look_up", "parameters": {"type": "object"}}]
    first = client.responses.create(
        model="demo", input="/demo tokens=3 tps=0 tool_call", tools=tools, instructions="one"
    )
    call = first.output[-1]
    assert call.type == "function_call" and call.name == "look_up" and call.call_id
    second = client.responses.create(
        model="demo",
        previous_response_id=first.id,
        input=[
            {"type": "function_call_output", "call_id": call.call_id, "output": "42"},
            {"role": "user", "content": [{"type": "input_text", "text": "/demo tokens=2 tps=0"}]},
        ],
        tools=tools,
    )
    assert second.previous_response_id == first.id and second.output_text
    kinds = [item.type for item in client.responses.input_items.list(second.id, order="asc").data]
    assert kinds == ["message", "message", "function_call", "function_call_output", "message"], kinds
    error = raises(
        openai.BadRequestError,
        lambda: client.responses.create(model="demo", input="x", previous_response_id="resp_1"),
    )
    assert error.param == "previous_response_id", error
    assert error.code == "previous_response_not_found", error


def chat_in_one_piece_and_streamed():
    ask = [{"role": "user", "content": "/demo tokens=20 tps=0 seed=4 unicode"}]
    whole = client.chat.completions.create(model="demo", messages=ask)
    assert whole.object == "chat.completion" and whole.id.startswith("chatcmpl-")
    assert whole.choices[0].finish_reason == "stop" and whole.usage.completion_tokens == 20
    stream = client.chat.completions.create(
        model="demo",
        messages=ask,
        stream=True,
        stream_options={"include_usage": True},
        n=1,
        store=False,
        logprobs=None,
        parallel_tool_calls=True,
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 20
    text = "".join(c.choices[0].delta.content or "" for c in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    with client.chat.completions.stream(
        model="demo", messages=[{"role": "user", "content": "/demo tokens=3 tps=0 tool_call"}]
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls[0].function.name == "look_up"


def chat_is_resumed():
    stream = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "/demo tokens=60 tps=100 seed=5"}],
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"Lastword-On-Disconnect": "continue"},
    )
    seen = [next(stream) for _ in range(10)]
    stream.close()
    path = f"/chat/completions/{seen[0].id}"

    def after(number):
        return list(
            client.get(
                path,
                cast_to=ChatCompletionChunk,
                options={"params": {"stream": "true", "starting_after": number}},
                stream=True,
                stream_cls=Stream[ChatCompletionChunk],
            )
        )

    seen += after(seen[-1].sequence_number)
    numbered(seen)
    text = "".join(c.choices[0].delta.content or "" for c in seen if c.choices)
    whole = client.chat.completions.retrieve(seen[0].id)
    assert whole.choices[0].message.content == text and whole.choices[0].finish_reason == "stop"
    assert seen[-1].usage == whole.usage
    assert dump(after(4)) == dump(seen[5:])


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
    error = raises(openai.BadRequestError, lambda: chat(model="demo", messages=ask, temperature=9))
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


def a_start_is_idempotent():
    def create():
        return client.responses.create(
            model="demo", input="/demo tokens=2 tps=0", extra_headers={"Idempotency-Key": "k-1"}
        )

    assert create().id == create().id


cases = [
    responses_in_one_piece,
    responses_streamed_and_resumed_anywhere,
    responses_in_the_background_and_cancelled,
    the_helper_resumes_by_a_full_replay,
    a_turn_goes_on_below_another,
    earlier_turns_are_counted_and_become_one_item,
    responses_over_a_socket,
    chat_in_one_piece_and_streamed,
    chat_is_resumed,
    completions_of_a_prompt,
    a_conversation_is_kept_and_gone_on_with,
    errors_have_their_class,
    a_start_is_idempotent,
]
if MODELS:
    cases += [an_upstream_that_says_no, an_answer_that_begins_again]
if KILLS:
    cases += [
        a_killed_instance_is_not_noticed_but_for_a_pause,
        a_socket_that_is_cut_is_resumed_elsewhere,
    ]
for case in cases:
    case()
    print("ok", case.__name__, flush=True)
