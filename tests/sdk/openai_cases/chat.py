"""Chat completions and completions: whole, streamed, resumed."""

import openai
from openai import Stream
from openai.types.chat import ChatCompletionChunk

from .client import MODELS, client, dump, numbered, raises


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


CASES = [
    chat_in_one_piece_and_streamed,
    chat_is_resumed,
    completions_of_a_prompt,
]
