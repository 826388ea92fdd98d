#!/usr/bin/env bash
# A chat completion chunk may leave `system_fingerprint` out or have null there, and of a tool call only the first
# fragment needs a `type`. One expects an SDK of the OpenAI kind to take both. cerebras-cloud-sdk 1.91.0 (Python)
# finds the type of a chunk by trying: one without either is taken for a whole completion, and its `delta` stays a
# plain dict, so `chunk.choices[0].delta.content` is an AttributeError. Send a fingerprint, or read `delta` as a
# dict when it is one.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" cerebras-cloud-sdk==1.91.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


from cerebras.cloud.sdk import Cerebras, __version__

CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
REST = {"index": 0, "function": {"arguments": "}"}}


def ask(piece):
    client = Cerebras(api_key="none", base_url=serve([piece, DONE]), max_retries=0, warm_tcp_connection=False)
    stream = client.chat.completions.create(model="m", stream=True, messages=[{"role": "user", "content": "hello"}])
    part = next(iter(stream))
    return type(part).__name__, type(part.choices[0].delta).__name__


CHUNK = ("ChatChunkResponse", "ChatChunkResponseChoiceDelta")
print("cerebras-cloud-sdk", __version__)
verdict(f"{CHUNK} five times", [
    ask(chunk({"content": "Hello"}, system_fingerprint="fp")),
    ask(chunk({"content": "Hello"})),
    ask(chunk({"content": "Hello"}, system_fingerprint=None)),
    ask(chunk({"tool_calls": [CALL]}, system_fingerprint="fp")),
    ask(chunk({"tool_calls": [REST]}, system_fingerprint="fp")),
], [CHUNK, ("ChatCompletionResponse", "dict"), ("ChatCompletionResponse", "dict"), CHUNK, ("ChatCompletionResponse", "dict")])
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
