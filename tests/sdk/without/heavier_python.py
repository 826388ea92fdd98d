"""pydantic-ai, instructor and litellm (PyPI): see tests/it/without.rs. `make fidelity` installs and runs them."""

import asyncio
import sys

from table import BOTH, TABLE, both

NAMES = ["text", "details", "reasoning", "refusal", "unicode", "length", *TABLE["errors"]]
TOOL = TABLE["tools"]


def pydantic_ai():
    from pydantic import BaseModel
    from pydantic_ai import Agent, BinaryContent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from openai import AsyncOpenAI
    import base64

    class Sky(BaseModel):
        share: float
        colour: str

    def weather(place: str, days: float = 1) -> str:
        """The weather."""
        return f"{place}: {days}"

    def now() -> str:
        """The time."""
        return "noon"

    def agent(way, kind, model, name):
        provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=BOTH[way], api_key="none", max_retries=0))
        output = NativeOutput(Sky) if name == "structured" else str
        return Agent(kind(model, provider=provider), instructions="Answer.", tools=[weather, now], output_type=output, retries=0)

    def plain(result):
        kept = [{name: str(value) for name, value in vars(part).items() if name not in ("timestamp", "id")} for message in result.all_messages() for part in message.parts]
        return {"output": str(result.output), "parts": kept}

    async def ask(made, prompt, stream):
        if not stream:
            return plain(await made.run(prompt))
        async with made.run_stream(prompt) as result:
            await result.get_output()
            return {"output": str(await result.get_output())}

    picture = BinaryContent(base64.b64decode(TABLE["picture"].split(",")[1]), media_type="image/png")
    prompts = {name: f"[[{name}]]" for name in [*NAMES, "tool", "parallel", "structured"]}
    prompts["picture"] = ["[[picture]]", picture, "and"]
    with asyncio.Runner() as loop:
        for kind, model in [(OpenAIChatModel, "gpt-4o"), (OpenAIResponsesModel, "gpt-5")]:
            for name, prompt in prompts.items():
                for stream in [False, True]:
                    run = lambda way: loop.run(ask(agent(way, kind, model, name), prompt, stream))
                    both(f"pydantic-ai {kind.__name__} {name} {'stream' if stream else 'whole'}", run)


def instructor():
    import instructor as library
    from openai import OpenAI
    from pydantic import BaseModel

    class Sky(BaseModel):
        share: float
        colour: str

    for mode in [library.Mode.JSON, library.Mode.JSON_SCHEMA]:
        def ask(way, name):
            client = library.from_openai(OpenAI(base_url=BOTH[way], api_key="none", max_retries=0), mode=mode)
            messages = [{"role": "user", "content": f"[[{name}]]"}]
            made, raw = client.chat.completions.create_with_completion(
                model="gpt-4o", messages=messages, response_model=Sky, max_retries=0)
            return {"sky": made.model_dump(), "raw": raw.model_dump()}

        for name in ["structured", *TABLE["errors"]]:
            both(f"instructor {mode.name} {name}", lambda way: ask(way, name))


def litellm():
    import litellm as library

    library.suppress_debug_info = True
    library.num_retries = 0

    def ask(way, name, stream, **more):
        messages = [{"role": "system", "content": "Answer."}, {"role": "user", "content": f"[[{name}]]"}]
        answer = library.completion(
            model="openai/gpt-4o", api_base=BOTH[way], api_key="none", messages=messages, stream=stream, max_retries=0, **more,
            **({"stream_options": {"include_usage": True}} if stream else {}))
        return {"chunks": [chunk.model_dump() for chunk in answer]} if stream else answer.model_dump()

    def responses(way, name):
        return library.responses(model="openai/gpt-5", api_base=BOTH[way], api_key="none", input=f"[[{name}]]", max_retries=0).model_dump()

    for name in [*NAMES, "tool", "parallel", "logprobs", "citations"]:
        more = {"tools": TOOL} if name in ("tool", "parallel") else {"logprobs": True} if name == "logprobs" else {}
        for stream in [False, True]:
            both(f"litellm chat {name} {'stream' if stream else 'whole'}", lambda way: ask(way, name, stream, **more))
    for name in NAMES:
        both(f"litellm responses {name}", lambda way: responses(way, name))


{"pydantic_ai": pydantic_ai, "instructor": instructor, "litellm": litellm}[sys.argv[1]]()
