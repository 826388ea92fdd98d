#!/usr/bin/env bash
# Servers of the OpenAI kind tell the usage in a chunk of its own, or in the one with the finish reason. One expects
# the finish reason either way. The OpenAI client of autogen-ext 0.7.5 drops it from a chunk that has usage:
# `finish_reason` is "unknown", also when the answer met its limit or calls tools. Usage on each chunk does the
# same. Send usage in a chunk of its own, without choices.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" autogen-ext[openai]==0.7.5 autogen-core==0.7.5 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import http.server, json, sys, threading


def serve(pieces, kind="text/event-stream"):
    """An upstream that answers every request with these pieces."""

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
            self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        do_GET = do_POST

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


def data(value, name=None):
    return (f"event: {name}\n" if name else "") + f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n"


def chunk(delta, finish=None, **more):
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return data({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more})


ROLE, DONE = chunk({"role": "assistant", "content": ""}), data("[DONE]")


def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import asyncio
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
from importlib.metadata import version

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
INFO = {"vision": False, "function_calling": True, "json_output": False, "family": "unknown", "structured_output": False}
ALONE = data({**json.loads(chunk({})[6:]), "choices": [], "usage": USAGE})


async def ask(*end):
    url = serve([ROLE, chunk({"content": "Hello"}), *end, DONE])
    client = OpenAIChatCompletionClient(model="m", api_key="none", base_url=url, max_retries=0, model_info=INFO)
    async for last in client.create_stream([UserMessage(content="hello", source="user")]):
        pass
    return last.finish_reason, last.usage.completion_tokens


async def main():
    return {
        "alone": [await ask(chunk({}, "stop"), ALONE), await ask(chunk({}, "length"), ALONE)],
        "with the reason": [await ask(chunk({}, "stop", usage=USAGE)), await ask(chunk({}, "length", usage=USAGE))],
    }


print("autogen-ext", version("autogen-ext"))
verdict("('stop', 2) and ('length', 2), twice", asyncio.run(main()), {
    "alone": [("stop", 2), ("length", 2)],
    "with the reason": [("unknown", 2), ("unknown", 2)],
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
