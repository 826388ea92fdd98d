"""Responses over HTTP: whole, streamed, in the background, in conversations, over a kill."""

import openai

from .client import KILLS, client, dump, numbered, raises, tell, text_of


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


def a_start_is_idempotent():
    def create():
        return client.responses.create(
            model="demo", input="/demo tokens=2 tps=0", extra_headers={"Idempotency-Key": "k-1"}
        )

    assert create().id == create().id


CASES = [
    responses_in_one_piece,
    responses_streamed_and_resumed_anywhere,
    responses_in_the_background_and_cancelled,
    the_helper_resumes_by_a_full_replay,
    a_turn_goes_on_below_another,
    earlier_turns_are_counted_and_become_one_item,
    a_conversation_is_kept_and_gone_on_with,
    a_start_is_idempotent,
]
if KILLS:
    CASES.append(a_killed_instance_is_not_noticed_but_for_a_pause)
