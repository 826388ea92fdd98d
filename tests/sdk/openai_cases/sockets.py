"""Responses over a WebSocket, also over a kill."""

import json

from .client import KILLS, client, numbered, tell, text_of


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


CASES = [
    responses_over_a_socket,
]
if KILLS:
    CASES.append(a_socket_that_is_cut_is_resumed_elsewhere)
