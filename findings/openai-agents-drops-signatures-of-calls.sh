#!/usr/bin/env bash
# Gemini signs its thoughts: over chat completions each tool call has `extra_content` with a signature, and the API
# refuses the tool's result without it. One expects an agent library to send a call back as it came, as pydantic-ai
# 2.68.0 does. The chat models of openai-agents 0.24.0 and of langchain-openai 1.7.4 send id, name and arguments only,
# streamed or not. Take Google's own provider there.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai-agents==0.24.0 langchain-openai==1.7.4 "pydantic-ai-slim[openai]==2.68.0" >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import http.server, json, sys, threading


def serve(answer):
    """An upstream; `answer` makes pieces of a stream, or one object, out of a request's body."""
    asked = []

    class Stub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers.get("content-length") or 0))))
            said = answer(asked[-1])
            whole = isinstance(said, dict)
            self.send_response(200)
            self.send_header("content-type", "application/json" if whole else "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in [json.dumps(said)] if whole else said:
                piece = piece.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}", asked


def chunk(delta, finish=None):
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    value = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return f"data: {json.dumps(value)}\n\n"


def completion(message, finish):
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}


def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import asyncio
from importlib.metadata import version

import agents
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

SIGNED = {"google": {"thought_signature": "c2ln"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": SIGNED}
agents.set_tracing_disabled(True)


def answer(body):
    called = any(message["role"] == "tool" for message in body["messages"])
    if not body.get("stream"):
        return completion({"content": "done"}, "stop") if called else completion({"content": None, "tool_calls": [CALL]}, "tool_calls")
    said = {"content": "done"} if called else {"tool_calls": [{"index": 0, **CALL}]}
    end = "stop" if called else "tool_calls"
    return [chunk({"role": "assistant", **said}), chunk({}, end), "data: [DONE]\n\n"]


def f() -> str:
    """Does it."""
    return "r"


def sent_back(ask):
    url, asked = serve(answer)
    ask(url)
    turn = next(message for message in asked[1]["messages"] if message["role"] == "assistant")
    return turn["tool_calls"][0].get("extra_content")


def with_agents(url, stream):
    model = agents.OpenAIChatCompletionsModel(model="m", openai_client=AsyncOpenAI(api_key="none", base_url=url, max_retries=0))
    agent = agents.Agent(name="a", model=model, tools=[agents.function_tool(f)])

    async def run():
        if not stream:
            return await agents.Runner.run(agent, "hello")
        result = agents.Runner.run_streamed(agent, "hello")
        async for _ in result.stream_events():
            pass

    asyncio.run(run())


def with_langchain(url, stream):
    model = ChatOpenAI(model="m", base_url=url, api_key="none", max_retries=0).bind_tools([f])
    ask = [HumanMessage("hello")]
    whole = None
    for part in model.stream(ask) if stream else [model.invoke(ask)]:
        whole = part if whole is None else whole + part
    model.invoke([*ask, whole, ToolMessage("r", tool_call_id="call_1")])


def with_pydantic_ai(url):
    model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, api_key="none"))
    Agent(model, tools=[f]).run_sync("hello")


print(*(f"{name} {version(name)}" for name in ("openai-agents", "langchain-openai", "pydantic-ai-slim")))
verdict(f"{SIGNED} five times", {
    "openai-agents": sent_back(lambda url: with_agents(url, False)),
    "openai-agents, streamed": sent_back(lambda url: with_agents(url, True)),
    "langchain-openai": sent_back(lambda url: with_langchain(url, False)),
    "langchain-openai, streamed": sent_back(lambda url: with_langchain(url, True)),
    "pydantic-ai": sent_back(with_pydantic_ai),
}, {
    "openai-agents": None,
    "openai-agents, streamed": None,
    "langchain-openai": None,
    "langchain-openai, streamed": None,
    "pydantic-ai": SIGNED,
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
