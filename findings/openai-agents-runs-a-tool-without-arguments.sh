#!/usr/bin/env bash
# In a chat completion stream a tool call is its name first and its arguments after it. When the stream ends between
# the two (the token limit, a worker that left), one expects no run of the tool: an empty text is no JSON.
# openai-agents 0.24.0 takes it for `{}`, and runs the tool with its default values; of arguments that are cut
# anywhere else it says that they are no JSON. A tool that acts needs a parameter without a default.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai-agents==0.24.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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

set_tracing_disabled(True)
ran = []


@function_tool
def remove(older_than_days: int = 0) -> str:
    """Removes old files."""
    ran.append(older_than_days)
    return "removed"


def call(arguments):
    function = {"name": "remove", "arguments": arguments}
    return chunk({"role": "assistant", "tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": function}]})


async def ask(*pieces):
    ran.clear()
    client = AsyncOpenAI(api_key="none", base_url=serve(pieces) + "/v1", max_retries=0)
    agent = Agent(name="a", tools=[remove], model=OpenAIChatCompletionsModel(model="m", openai_client=client),
                  tool_use_behavior="stop_on_first_tool")
    run = Runner.run_streamed(agent, "remove what is older than 30 days")
    try:
        async for _ in run.stream_events():
            pass
    except Exception as error:
        return type(error).__name__, list(ran)
    return str(run.final_output)[:40], list(ran)


async def main():
    return {
        "whole": await ask(call('{"older_than_days": 30}'), chunk(finish="tool_calls"), DONE),
        "cut in the arguments": (await ask(call('{"older_than'), chunk(finish="length"), DONE))[1],
        "cut before them, limit": await ask(call(""), chunk(finish="length"), DONE),
        "cut before them, early end": await ask(call("")),
    }


print("openai-agents", version("openai-agents"))
verdict("a run with 30 for the whole call only", asyncio.run(main()), {
    "whole": ("removed", [30]), "cut in the arguments": [],
    "cut before them, limit": ("removed", [0]), "cut before them, early end": ("removed", [0])})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
