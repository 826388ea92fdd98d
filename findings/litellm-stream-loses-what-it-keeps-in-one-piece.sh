#!/usr/bin/env bash
# What a model signed has to come back in a tool loop: Gemini's `extra_content` of a call, OpenRouter's
# `reasoning_details`. litellm 1.110.2 keeps both of an answer in one piece. One expects the same of the message that
# `stream_chunk_builder` makes of the chunks. It has neither: a streamed agent loses the signatures without a word,
# and the next request is refused. `thinking_blocks` survive. Ask without `stream`, or keep the fields from the chunks.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" litellm==1.110.2 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import os
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

SIGNED = {"google": {"thought_signature": "c2ln"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": SIGNED}
THOUGHT = {"type": "reasoning.text", "text": "Hm", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}
BLOCK = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
FIELDS = {"reasoning_details": [THOUGHT], "thinking_blocks": [BLOCK]}


def answer(body):
    if not body.get("stream"):
        return completion({"content": None, "tool_calls": [CALL], **FIELDS}, "tool_calls")
    first = chunk({"role": "assistant", "content": "", **FIELDS})
    return [first, chunk({"tool_calls": [{"index": 0, **CALL}]}), chunk({}, "tool_calls"), "data: [DONE]\n\n"]


def kept(message):
    text = message.model_dump_json()
    return [name for name in ("extra_content", "reasoning_details", "thinking_blocks") if name in text]


url, _ = serve(answer)
ask = {"model": "openai/m", "api_base": url, "api_key": "none", "messages": [{"role": "user", "content": "hello"}]}
tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
whole = litellm.completion(tools=tools, **ask)
streamed = litellm.stream_chunk_builder(list(litellm.completion(tools=tools, stream=True, **ask)))
print("litellm", version("litellm"))
verdict("all three fields twice", {
    "in one piece": kept(whole.choices[0].message),
    "streamed": kept(streamed.choices[0].message),
}, {
    "in one piece": ["extra_content", "reasoning_details", "thinking_blocks"],
    "streamed": ["thinking_blocks"],
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
