#!/usr/bin/env bash
# With `n: 2` the chunks of two choices come interleaved, told apart by `index`. One expects a client that wants
# one answer to read index 0. langchain-openai 1.7.4 and pydantic-ai 2.68.0 read the first entry of each chunk
# whatever its index is: both answers run into one text, and langchain's finish reason is "stoplength", the two
# reasons joined. So a gateway that serves `n` above one must expect frameworks to mix the answers up.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" langchain-openai==1.7.4 langchain-core==1.8.3 'pydantic-ai-slim[openai]==2.68.0' >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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

from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

url = serve([chunk({"role": "assistant", "content": "one "}), chunk({"role": "assistant", "content": "uno "}, index=1),
             chunk({"content": "two"}), chunk({"content": "dos"}, index=1), chunk({}, "stop"),
             chunk({}, "length", index=1), DONE]) + "/v1"
whole = None
for part in ChatOpenAI(model="m", base_url=url, api_key="none", max_retries=0).stream("hello"):
    whole = part if whole is None else whole + part


async def ask():
    agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(base_url=url, api_key="none")))
    async with agent.run_stream("hello") as run:
        return await run.get_output()


print("langchain-openai", version("langchain-openai"), "pydantic-ai-slim", version("pydantic-ai-slim"))
verdict("one two", (whole.content, whole.response_metadata["finish_reason"], asyncio.run(ask())),
        ("one uno twodos", "stoplength", "one uno twodos"))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
