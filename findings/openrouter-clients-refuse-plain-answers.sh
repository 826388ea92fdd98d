#!/usr/bin/env bash
# `system_fingerprint` is optional in OpenAI's chat completions, and `provider` is OpenRouter's own. One expects clients
# of OpenRouter to read an answer without either, since servers of other models stand behind the same address.
# openrouter 0.11.46 (Python, also within langchain-openrouter) raises ResponseValidationError without the first; null
# is enough. pydantic-ai 2.68.0's OpenRouterModel raises UnexpectedModelBehavior without the second, in one piece and
# not streamed. Take their models for OpenAI's API at other servers.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openrouter==0.11.46 "pydantic-ai-slim[openai]==2.68.0" >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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

from openai import AsyncOpenAI
from openrouter import OpenRouter
from pydantic_ai import Agent
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.providers.openrouter import OpenRouterProvider


def server(**more):
    def answer(body):
        if not body.get("stream"):
            whole = {**completion({"content": "Hi"}, "stop"), **more}
            if "provider" in more:
                whole["choices"][0]["native_finish_reason"] = "stop"
            return whole
        return [chunk({"role": "assistant", "content": "Hi"}), chunk({}, "stop"), "data: [DONE]\n\n"]

    return serve(answer)[0]


def with_openrouter(**more):
    with OpenRouter(api_key="none", server_url=server(**more)) as client:
        try:
            answer = client.chat.send(model="m", messages=[{"role": "user", "content": "hello"}])
            return answer.choices[0].message.content
        except Exception as error:
            return type(error).__name__


def with_pydantic_ai(stream, **more):
    provider = OpenRouterProvider(openai_client=AsyncOpenAI(api_key="none", base_url=server(**more), max_retries=0))
    agent = Agent(OpenRouterModel("openai/m", provider=provider))

    async def run():
        if not stream:
            return (await agent.run("hello")).output
        async with agent.run_stream("hello") as answer:
            return await answer.get_output()

    try:
        return asyncio.run(run())
    except Exception as error:
        return type(error).__name__


print("openrouter", version("openrouter"), "pydantic-ai", version("pydantic-ai-slim"))
verdict("'Hi' five times", {
    "openrouter": with_openrouter(),
    "openrouter, null": with_openrouter(system_fingerprint=None),
    "pydantic-ai": with_pydantic_ai(False),
    "pydantic-ai, streamed": with_pydantic_ai(True),
    "pydantic-ai, provider": with_pydantic_ai(False, provider="x"),
}, {
    "openrouter": "ResponseValidationError",
    "openrouter, null": "Hi",
    "pydantic-ai": "UnexpectedModelBehavior",
    "pydantic-ai, streamed": "Hi",
    "pydantic-ai, provider": "Hi",
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
