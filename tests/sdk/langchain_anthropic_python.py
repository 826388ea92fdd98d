"""LangChain's ChatAnthropic (PyPI): see tests/it/sdk.rs."""

import os

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool

BASE = os.environ["BASE"].removesuffix("/v1")


@tool
def look_up(city: str) -> str:
    """Says how warm it is."""
    return f"9 degrees in {city}"


model = ChatAnthropic(model="demo", base_url=BASE, api_key="none", max_retries=0, max_tokens=500)
prompt = "/demo tokens=30 tps=200 seed=6 unicode"
pieces = list(model.stream(prompt))
streamed = pieces[0]
for piece in pieces[1:]:
    streamed += piece
whole = model.invoke(prompt)
assert str(streamed.text) == str(whole.text) and str(whole.text), (streamed, whole)
assert len(pieces) > 10
assert whole.usage_metadata["output_tokens"] == 30, whole.usage_metadata
assert streamed.usage_metadata["output_tokens"] == 30, streamed.usage_metadata
print("ok langchain anthropic", flush=True)

question = HumanMessage("/demo tps=0 ttft_ms=0")
called = model.bind_tools([look_up], tool_choice="any").invoke([question])
[call] = called.tool_calls
assert (call["name"], call["args"]) == ("look_up", {"city": "a demo of city"}), call
result = ToolMessage(look_up.invoke(call["args"]), tool_call_id=call["id"])
answer = model.bind_tools([look_up]).invoke([question, called, result])
assert "9 degrees in a demo of city" in str(answer.text), answer
print("ok langchain anthropic tools", flush=True)

thinking = model.invoke("/demo tokens=5 tps=0 reasoning")
kinds = [block["type"] for block in thinking.content]
assert kinds == ["thinking", "text"], thinking.content
again = model.invoke([question, thinking, HumanMessage("/demo tokens=5 tps=0")])
assert str(again.text), again
print("ok langchain anthropic thinking", flush=True)
