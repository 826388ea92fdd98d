#!/usr/bin/env bash
# openai-agents 0.24.0 raises ModelBehaviorError when a Responses stream ends early, or with `response.incomplete`.
# One expects the same of its other model class. OpenAIChatCompletionsModel, the one for servers that speak chat
# completions, gives a stream without a finish reason, one that met the token limit and one that a filter cut as
# the `final_output` of a complete run, and the finish reason is nowhere in the result.
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

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)


async def ask(kind, *pieces):
    client = AsyncOpenAI(api_key="none", base_url=serve(pieces) + "/v1", max_retries=0)
    run = Runner.run_streamed(Agent(name="a", model=kind(model="m", openai_client=client)), "hello")
    try:
        async for _ in run.stream_events():
            pass
    except Exception as error:
        return type(error).__name__
    return run.final_output, run.is_complete


def response(type, number, **more):
    whole = {"id": "r1", "object": "response", "created_at": 1, "model": "m", "output": [], "parallel_tool_calls": True,
             "tool_choice": "auto", "tools": [], "status": type.split(".")[1], **more}
    return event({"type": type, "sequence_number": number, "response": whole}, type)


delta = event({"type": "response.output_text.delta", "sequence_number": 1, "item_id": "m1", "output_index": 0,
               "content_index": 0, "delta": "Half an ans", "logprobs": []}, "response.output_text.delta")
begin = response("response.created", 0, status="in_progress")
limit = response("response.incomplete", 2, incomplete_details={"reason": "max_output_tokens"})
half = chunk({"role": "assistant", "content": "Half an ans"})


async def main():
    return {
        "responses, early end": await ask(OpenAIResponsesModel, begin, delta),
        "responses, limit": await ask(OpenAIResponsesModel, begin, delta, limit),
        "chat, early end": await ask(OpenAIChatCompletionsModel, half),
        "chat, limit": await ask(OpenAIChatCompletionsModel, half, chunk(finish="length"), DONE),
        "chat, filter": await ask(OpenAIChatCompletionsModel, half, chunk(finish="content_filter"), DONE),
    }


print("openai-agents", version("openai-agents"))
answer = ("Half an ans", True)
verdict("ModelBehaviorError five times", asyncio.run(main()), {
    "responses, early end": "ModelBehaviorError", "responses, limit": "ModelBehaviorError",
    "chat, early end": answer, "chat, limit": answer, "chat, filter": answer})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
