#!/usr/bin/env bash
# In a chat completion stream a tool call is its name first and its arguments after it. When the stream ends between
# the two (the token limit, a worker that left), one expects no run of the tool: an empty text is no JSON.
# openai-agents 0.24.0 and pydantic-ai 2.68.0 take it for `{}`, and run the tool with its default values; one that
# is cut within its arguments is not run. A tool that acts needs a parameter without a default.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai-agents==0.24.0 'pydantic-ai-slim[openai]==2.68.0' >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import http.server, json, sys, threading


def serve(pieces, cut=False, kind="text/event-stream"):
    """An upstream that answers every POST and GET with these pieces; `cut` leaves out the end of the body."""

    class Stub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                piece = piece.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            if not cut:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        do_GET = do_POST

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def event(value, name=None):
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value)}\n\n"


def chunk(delta=None, finish=None, index=0, **more):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return event({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more})


DONE = "data: [DONE]\n\n"
ASK = [{"role": "user", "content": "hello"}]
def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import asyncio
from importlib.metadata import version

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

set_tracing_disabled(True)
ran = []


def remove(older_than_days: int = 0) -> str:
    """Removes old files."""
    ran.append(older_than_days)
    raise RuntimeError("that is enough")


def call(arguments):
    function = {"name": "remove", "arguments": arguments}
    return chunk({"role": "assistant", "tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": function}]})


async def openai_agents(url):
    client = AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
    tool = function_tool(remove, failure_error_function=None)
    run = Runner.run_streamed(Agent(name="a", tools=[tool], model=OpenAIChatCompletionsModel(model="m", openai_client=client)), "go", max_turns=1)
    async for _ in run.stream_events():
        pass


async def pydantic_ai(url):
    model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, api_key="none"))
    async with PydanticAgent(model, tools=[remove], retries=0).run_stream("go") as run:
        await run.get_output()


def ask(agent, *pieces):
    """With which values the tool was run."""
    ran.clear()
    try:
        asyncio.run(agent(serve(pieces) + "/v1"))
    except Exception:
        pass
    return list(ran)


print("openai-agents", version("openai-agents"), "pydantic-ai-slim", version("pydantic-ai-slim"))
seen = {
    agent.__name__: [
        ask(agent, call('{"older_than_days": 30}'), chunk(finish="tool_calls"), DONE),
        ask(agent, call('{"older_than'), chunk(finish="length"), DONE),
        ask(agent, call(""), chunk(finish="length"), DONE),
        ask(agent, call("")),
    ]
    for agent in (openai_agents, pydantic_ai)
}
verdict("[[30], [], [], []] for both", seen, {name: [[30], [], [0], [0]] for name in ("openai_agents", "pydantic_ai")})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
