"""Server-sent events, read and written."""

import json


def events(lines):
    """Events of an iterable of byte lines, as (name, data); comments are left out."""
    name, data = None, []
    for line in lines:
        line = line.decode().rstrip("\r\n")
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line:
            if data:
                yield name, "\n".join(data)
            name, data = None, []


def encode(name, data):
    head = f"event: {name}\n" if name else ""
    return (head + f"data: {data}\n\n").encode()


def get_text(event):
    """The text of an event of chat completions, Responses or Messages, or None."""
    if event.get("choices"):
        return event["choices"][0].get("delta", {}).get("content")
    if event.get("type") == "response.output_text.delta":
        return event["delta"]
    if event.get("type") == "content_block_delta" and event["delta"].get("type") == "text_delta":
        return event["delta"]["text"]
    return None


def with_text(event, text):
    """The same event with another text, and without what belongs to the end of an answer."""
    event = json.loads(json.dumps(event))
    if "choices" in event:
        event["choices"][0]["delta"] = {"content": text}
        event["choices"][0]["finish_reason"] = None
        event["choices"][0].pop("logprobs", None)
        event.pop("usage", None)
    elif event["type"] == "content_block_delta":
        event["delta"]["text"] = text
    else:
        event["delta"] = text
    return event
