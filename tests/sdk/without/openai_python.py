"""openai (PyPI) in both APIs, whole and streamed: see tests/it/without.rs. Each situation is tried at DIRECT and at
THROUGH; a line for each says what the client's objects hold."""

from openai import OpenAI

from table import BOTH, both, requests


def chat(client, body, stream):
    if not stream:
        return client.chat.completions.create(**body).model_dump()
    chunks = client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
    return {"chunks": [chunk.model_dump() for chunk in chunks]}


def accumulated(client, body, _):
    with client.chat.completions.stream(**body) as stream:
        return stream.get_final_completion().model_dump()


def responses(client, body, stream):
    if not stream:
        return client.responses.create(**body).model_dump()
    return {"events": [event.model_dump() for event in client.responses.create(**body, stream=True)]}


clients = {way: OpenAI(base_url=base, api_key="none", max_retries=0) for way, base in BOTH.items()}
for api, model, ask in [("chat", "gpt-4o", chat), ("responses", "gpt-5", responses)]:
    for name, body in requests(api):
        for stream in [False, True]:
            both(f"{api} {name} {'stream' if stream else 'whole'}", lambda way: ask(clients[way], {"model": model, **body}, stream))
for name, body in requests("chat"):
    if name in ("tool", "parallel", "logprobs", "refusal", "structured"):
        both(f"chat {name} accumulated", lambda way: accumulated(clients[way], {"model": "gpt-4o", **body}, True))
