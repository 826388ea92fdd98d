"""openai-agents (PyPI) over both APIs, with its tool loop: see tests/it/without.rs."""

import asyncio

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from agents import set_tracing_disabled
from openai import AsyncOpenAI
from pydantic import BaseModel

from table import BOTH, TABLE, both

set_tracing_disabled(True)


@function_tool
def weather(place: str, days: float = 1) -> str:
    """The weather."""
    return f"{place}: {days}"


@function_tool
def now() -> str:
    """The time."""
    return "noon"


class Sky(BaseModel):
    share: float
    colour: str


def agent(way, kind, model, name):
    client = AsyncOpenAI(base_url=BOTH[way], api_key="none", max_retries=0)
    output = Sky if name == "structured" else None
    settings = ModelSettings(temperature=0.5, max_tokens=200, include_usage=True)
    return Agent(name="a", instructions="Answer.", model=kind(model, client), tools=[weather, now], output_type=output, model_settings=settings)


def held(result):
    items = [item.raw_item if isinstance(item.raw_item, dict) else item.raw_item.model_dump() for item in result.new_items]
    return {"output": result.final_output, "items": items, "usage": result.context_wrapper.usage.__dict__}


async def ask(made, prompt, stream):
    if not stream:
        return held(await Runner.run(made, prompt, max_turns=3))
    result = Runner.run_streamed(made, prompt, max_turns=3)
    async for _ in result.stream_events():
        pass
    return held(result)


NAMES = ["text", "details", "tool", "parallel", "reasoning", "refusal", "structured", "unicode", *TABLE["errors"]]
# One loop for all: a client's connections belong to it.
with asyncio.Runner() as loop:
    for kind, model in [(OpenAIChatCompletionsModel, "gpt-4o"), (OpenAIResponsesModel, "gpt-5")]:
        for name in NAMES:
            # A refusal is the same answer to both; the streamed one is the harder.
            for stream in [True] if name in TABLE["errors"] else [False, True]:
                run = lambda way: loop.run(ask(agent(way, kind, model, name), f"[[{name}]]", stream))
                both(f"{kind.__name__} {name} {'stream' if stream else 'whole'}", run)
