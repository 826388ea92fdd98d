"""openai-agents (PyPI) with its default model, in every way in which it keeps a session. The
model of tests/it/sdk.rs calls the tool once and then repeats its result."""

import asyncio
import os

from agents import Agent, OpenAIConversationsSession, Runner, function_tool, set_default_openai_client
from agents import set_tracing_disabled
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=os.environ["BASE"], api_key="none", max_retries=0)
set_default_openai_client(client)
set_tracing_disabled(True)


@function_tool
def look_up(what: str) -> str:
    """Looks something up."""
    return f"{what} is 42"


agent = Agent(name="a", instructions="Answer.", tools=[look_up])


async def the_default_model_calls_a_tool():
    result = await Runner.run(agent, "What is it?")
    assert result.final_output == "It: the answer is 42.", result.final_output
    again = result.to_input_list() + [{"role": "user", "content": "And again?"}]
    result = await Runner.run(agent, again)
    assert result.final_output == "It: the answer is 42.", result.final_output


async def the_same_streamed_below_earlier_responses():
    result = Runner.run_streamed(agent, "What is it?", auto_previous_response_id=True)
    async for _ in result.stream_events():
        pass
    assert result.final_output == "It: the answer is 42.", result.final_output


async def a_conversation_of_the_server_is_the_session():
    session = OpenAIConversationsSession()
    for prompt in ["What is it?", "And again?"]:
        result = await Runner.run(agent, prompt, session=session)
        assert result.final_output == "It: the answer is 42.", result.final_output
    items = await session.get_items()
    kinds = [item["type"] for item in items]
    turn = ["message", "function_call", "function_call_output", "message"]
    assert kinds == turn * 2, kinds
    last = await session.pop_item()
    assert last["content"][0]["text"] == "It: the answer is 42.", last
    newest = await session.get_items(limit=2)
    assert [item["type"] for item in newest] == ["function_call", "function_call_output"], newest
    await session.clear_session()


async def a_conversation_goes_on_at_the_server():
    made = await client.conversations.create()
    for prompt in ["What is it?", "And again?"]:
        result = await Runner.run(agent, prompt, conversation_id=made.id)
        assert result.final_output == "It: the answer is 42.", result.final_output
    page = await client.conversations.items.list(made.id, order="asc", limit=100)
    kinds = [item.type for item in page.data]
    turn = ["message", "function_call", "function_call_output", "message"]
    assert kinds == turn * 2, kinds


async def main():
    for case in [
        the_default_model_calls_a_tool,
        the_same_streamed_below_earlier_responses,
        a_conversation_of_the_server_is_the_session,
        a_conversation_goes_on_at_the_server,
    ]:
        await case()
        print("ok", case.__name__, flush=True)


asyncio.run(main())
