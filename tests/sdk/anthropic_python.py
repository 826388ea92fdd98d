"""anthropic (PyPI) against two instances behind a dumb proxy: see tests/it/sdk.rs.

Every case is a function; the process ends with an error at the first that fails. `tell` asks the
test that runs it to kill the instance that owns a generation, and waits until that is done.
"""

import os
import sys
import threading

import anthropic
import httpx

BASE = os.environ["BASE"].removesuffix("/v1")
client = anthropic.Anthropic(base_url=BASE, api_key="none", max_retries=0)
USER = lambda text: [{"role": "user", "content": text}]
TOOLS = [{"name": "look_up", "description": "d", "input_schema": {"type": "object"}}]


def tell(word):
    print(word, flush=True)
    assert sys.stdin.readline() == "done\n"


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected")


def ask(text, **more):
    more = {"model": "demo", "max_tokens": 1000, "messages": USER(text)} | more
    return client.messages.create(**more)


def a_message_in_one_piece():
    message = ask(
        "/demo tokens=20 tps=0 seed=1",
        system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        metadata={"user_id": "u"},
        stop_sequences=["NEVER"],
        thinking={"type": "adaptive"},
        service_tier="auto",
        extra_body={"brand_new": 1},
        extra_headers={"anthropic-beta": "context-management-2025-06-27"},
    )
    assert message.id.startswith("msg_") and message.type == "message", message
    assert message.stop_reason == "end_turn" and message.usage.output_tokens == 20, message
    assert [block.type for block in message.content] == ["text"] and message.content[0].text
    assert message._request_id.startswith("req_"), message._request_id


def thinking_and_a_call_streamed():
    text = "/demo tokens=20 tps=0 reasoning tool_call unicode seed=2"
    with client.messages.stream(
        model="demo", max_tokens=1000, messages=USER(text), tools=TOOLS
    ) as stream:
        events = list(stream)
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"], final
    whole = ask(text, tools=TOOLS)
    assert whole.content[0] == final.content[0] and whole.content[0].signature
    assert whole.content[1].text == final.content[1].text == "".join(
        event.text for event in events if event.type == "text"
    )
    assert final.content[2].name == "look_up" and final.content[2].input == whole.content[2].input
    assert final.stop_reason == whole.stop_reason == "tool_use"
    assert final.usage.output_tokens == whole.usage.output_tokens
    # The next turn, as the SDK's documentation has it.
    result = {"type": "tool_result", "tool_use_id": final.content[2].id, "content": "42"}
    turns = USER(text) + [
        {"role": "assistant", "content": final.content},
        {"role": "user", "content": [result, {"type": "text", "text": "/demo tokens=3 tps=0"}]},
    ]
    response = client.messages.with_raw_response.create(
        model="demo", max_tokens=1000, messages=turns, tools=TOOLS
    )
    assert response.parse().stop_reason == "end_turn"
    assert "lastword-left-out" not in response.headers, response.headers


def pictures_and_failed_tools():
    picture = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    turns = USER([{"type": "image", "source": picture}, {"type": "text", "text": "see"}]) + [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": "no"},
                {"type": "text", "text": "/demo tokens=3 tps=0"},
            ],
        },
    ]
    assert ask("", messages=turns).stop_reason == "end_turn"


def tokens_and_models():
    count = client.messages.count_tokens(model="demo", messages=USER("word " * 400), tools=TOOLS)
    assert count.input_tokens > 500, count
    models = list(client.models.list(limit=1))
    assert "demo" in [model.id for model in models] and len(models) == 4, models
    model = client.models.retrieve("demo")
    assert model.type == "model" and model.display_name == "demo" and model.created_at.year == 1970
    raises(anthropic.NotFoundError, lambda: client.models.retrieve("none"))


def errors_have_their_class():
    raises(anthropic.NotFoundError, lambda: ask("hi", model="claude"))
    error = raises(anthropic.BadRequestError, lambda: ask(" "))
    assert error.body["error"]["type"] == "invalid_request_error", error.body
    assert error.request_id.startswith("req_"), error.request_id
    keyed = anthropic.Anthropic(base_url=BASE, api_key="lw_" + "0" * 43, max_retries=0)
    raises(
        anthropic.AuthenticationError,
        lambda: keyed.messages.create(model="demo", max_tokens=1, messages=USER("hi")),
    )
    raises(anthropic.RateLimitError, lambda: ask("hi", model="limited"))
    raises(anthropic.NotFoundError, lambda: client.messages.batches.list())

    def broken():
        with client.messages.stream(model="broken", max_tokens=9, messages=USER("hi")) as stream:
            list(stream)

    error = raises(anthropic.APIStatusError, broken)
    assert error.body["error"]["code"] == "upstream_unavailable", error.body


def a_killed_instance_is_not_noticed_behind_a_cursor():
    body = {
        "model": "demo",
        "max_tokens": 1000,
        "stream": True,
        "messages": USER("/demo tokens=300 tps=100 ttft_ms=0 seed=8"),
    }
    headers = {"anthropic-version": "2023-06-01"}
    lines = []
    try:
        with httpx.stream("POST", f"{BASE}/v1/messages", json=body, headers=headers, timeout=60) as answer:
            generation = answer.headers["lastword-generation"]
            for line in answer.iter_lines():
                lines.append(line)
                if len(lines) == 200:
                    tell(f"kill {generation}")
    except httpx.HTTPError:
        pass
    whole = [n for n, line in enumerate(lines) if line == ""]
    lines = lines[: whole[-1] + 1]
    last = [line for line in lines if line.startswith("id: ")][-1].removeprefix("id: ")
    url = f"{BASE}/v1/messages/msg_{generation.replace('-', '')}"
    rest = httpx.get(f"{url}?stream=true&starting_after={last}", headers=headers, timeout=60)
    told = httpx.get(f"{url}?stream=true", headers=headers, timeout=60)
    kept = lambda lines: [line for line in lines if line and "ping" not in line]
    assert kept(lines) + kept(rest.text.splitlines()) == kept(told.text.splitlines())
    assert "event: message_stop" in rest.text
    tell("heal")


def a_waited_for_message_survives_a_kill_by_its_key():
    patient = client.with_options(max_retries=5)
    newest = lambda: httpx.get(f"{BASE}/v1/generations?limit=1").json()["data"][0]
    before = newest()["id"]
    said = []

    def wait():
        said.append(
            patient.messages.create(
                model="demo",
                max_tokens=1000,
                messages=USER("/demo tokens=200 tps=100 ttft_ms=0 seed=9"),
                extra_headers={"Idempotency-Key": "once", "Lastword-On-Disconnect": "continue"},
            )
        )

    thread = threading.Thread(target=wait)
    thread.start()
    while newest()["id"] == before or newest()["status"] != "running":
        pass
    generation = newest()["id"]
    tell(f"kill {generation}")
    thread.join()
    assert said[0].id == f"msg_{generation.replace('-', '')}", said
    assert said[0].stop_reason == "end_turn" and len(said[0].content[0].text.split()) > 100, said
    assert newest()["id"] == generation, "one start, however often it is sent"
    tell("heal")


CASES = [
    a_message_in_one_piece,
    thinking_and_a_call_streamed,
    pictures_and_failed_tools,
    tokens_and_models,
    errors_have_their_class,
    a_killed_instance_is_not_noticed_behind_a_cursor,
    a_waited_for_message_survives_a_kill_by_its_key,
]
for case in CASES:
    case()
    print("ok", case.__name__, flush=True)
