"""openai (PyPI) in a tool loop with Claude, which refuses a result whose thinking is missing: see tests/it/sdk.rs."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["BASE"], api_key="none", max_retries=0)
USER = {"role": "user", "content": "go"}
FUNCTION = {"name": "f", "parameters": {"type": "object"}}


def chat(message):
    """The second turn, with the model's message as the SDK has it."""
    call = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "r"}
    tools = [{"type": "function", "function": FUNCTION}]
    answer = client.chat.completions.create(model="claude", messages=[USER, message, result], tools=tools)
    assert answer.choices[0].message.content == "done", answer


tools = [{"type": "function", "function": FUNCTION}]
whole = client.chat.completions.create(model="claude", messages=[USER], tools=tools)
chat(whole.choices[0].message)
with client.chat.completions.stream(model="claude", messages=[USER], tools=tools) as stream:
    chat(stream.get_final_completion().choices[0].message)
print("ok chat", flush=True)

tools = [{"type": "function", **FUNCTION}]
options = {"model": "claude", "tools": tools, "store": False, "include": ["reasoning.encrypted_content"]}
first = client.responses.create(input=[USER], **options)
with client.responses.stream(input=[USER], **options) as stream:
    streamed = stream.get_final_response()
for response in (first, streamed):
    call = next(item for item in response.output if item.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "r"}
    second = client.responses.create(input=[USER, *response.output, result], **options)
    assert second.output_text == "done", second
chained = client.responses.create(model="claude", tools=tools, input=[result], previous_response_id=response.id)
assert chained.output_text == "done", chained
print("ok responses", flush=True)

# The client's own history, stored as the items of a conversation: at once, or as they come.
history = [item.model_dump(exclude_none=True) for item in response.output]
opened = client.conversations.create(items=[USER, *history])
grown = client.conversations.create(items=[USER])
for item in history:
    client.conversations.items.create(grown.id, items=[item])
for conversation in (opened, grown):
    kinds = [item.type for item in client.conversations.items.list(conversation.id, order="asc")]
    assert kinds.count("reasoning") == [item["type"] for item in history].count("reasoning"), kinds
    answer = client.responses.create(model="claude", tools=tools, input=[result], conversation=conversation.id)
    assert answer.output_text == "done", answer
print("ok conversations", flush=True)
