#!/usr/bin/env bash
# Servers of the OpenAI kind have finish reasons of their own: vLLM says "abort", others "model_length" or "eos".
# One expects a framework to hand them on, or to say "other". Semantic Kernel 1.45.0 (Python) raises a ValueError at
# the last chunk of such a stream ("'abort' is not a valid FinishReason"), so an answer that is all there ends as a
# failure. Let a gateway in front of it send "stop" or "length".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" semantic-kernel==1.45.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import asyncio, logging
from importlib.metadata import version
from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import ChatHistory


logging.disable()


async def ask(finish):
    url = serve([ROLE, chunk({"content": "Hello world."}), chunk({}, finish), DONE])
    service = OpenAIChatCompletion(ai_model_id="m", async_client=AsyncOpenAI(api_key="none", base_url=url, max_retries=0))
    history, text = ChatHistory(), ""
    history.add_user_message("hello")
    try:
        async for part in service.get_streaming_chat_message_content(history, OpenAIChatPromptExecutionSettings()):
            text += str(part)
        return text, None
    except Exception as error:
        return text, f"{type(error).__name__}: {error}"


print("semantic-kernel", version("semantic-kernel"))
verdict("('Hello world.', None) three times", [asyncio.run(ask(finish)) for finish in ("stop", "abort", "eos")], [
    ("Hello world.", None),
    ("Hello world.", "ValueError: 'abort' is not a valid FinishReason"),
    ("Hello world.", "ValueError: 'eos' is not a valid FinishReason"),
])
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
