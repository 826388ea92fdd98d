#!/usr/bin/env bash
# A chat stream that ends before its finish reason is a cut answer. One expects an agent to raise, or to keep what
# came. strands-agents 1.62.0 over its OpenAI model does neither: the result has the stop reason "end_turn" and no
# text at all, though the callback saw the text, and the empty turn is kept in the agent's messages. A connection
# that breaks raises. Keep what the callback gets, and take an empty message for a failure.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" strands-agents[openai]==1.62.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


from importlib.metadata import version
from strands import Agent
from strands.models.openai import OpenAIModel


def ask(*pieces):
    shown = []
    model = OpenAIModel(client_args={"api_key": "none", "base_url": serve(pieces), "max_retries": 0}, model_id="m")
    agent = Agent(model=model, callback_handler=lambda **more: shown.append(more["data"]) if "data" in more else None)
    result = agent("hello")
    return {"shown": "".join(shown), "result": str(result).strip(), "stop": result.stop_reason, "kept": agent.messages[-1]["content"]}


print("strands-agents", version("strands-agents"))
half = [ROLE, chunk({"content": "Do not"})]
verdict("for the second an error, or its text", [ask(*half, chunk({}, "stop"), DONE), ask(*half)], [
    {"shown": "Do not", "result": "Do not", "stop": "end_turn", "kept": [{"text": "Do not"}]},
    {"shown": "Do not", "result": "", "stop": "end_turn", "kept": []},
])
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
