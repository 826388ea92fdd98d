#!/usr/bin/env bash
# Fragments of parallel tool calls belong together by their `index`: a delta may carry two of them, and they may
# come in turns. One expects two calls of the function-calling helper in each case. llama-index-llms-openai 0.8.3
# looks at the first fragment of a delta only, and compares it with the last call only: two calls in one delta lose
# the second, and fragments in turns become four calls, two of them without a name. One call after the other is
# right. Send one fragment a delta, each call to its end.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" llama-index-llms-openai==0.8.3 llama-index-core==0.14.25 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI


def head(index, name, text):
    return {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": text}}


def rest(index, text):
    return {"index": index, "function": {"arguments": text}}


def ask(*deltas):
    pieces = [ROLE, *(chunk({"tool_calls": delta}) for delta in deltas), chunk({}, "tool_calls"), DONE]
    model = OpenAI(model="gpt-4o", api_base=serve(pieces), api_key="none", max_retries=0)
    *_, last = model.stream_chat([ChatMessage(role="user", content="hello")])
    return [(call.tool_name, call.tool_kwargs) for call in model.get_tool_calls_from_response(last)]


BOTH = [("send", {"to": "Ann"}), ("wipe", {"disk": "b"})]
print("llama-index-llms-openai", version("llama-index-llms-openai"))
verdict(f"{BOTH} three times", {
    "one after the other": ask([head(0, "send", '{"to":')], [rest(0, '"Ann"}')], [head(1, "wipe", '{"disk":')], [rest(1, '"b"}')]),
    "in one delta": ask([head(0, "send", '{"to":"Ann"}'), head(1, "wipe", '{"disk":"b"}')]),
    "in turns": ask([head(0, "send", "")], [head(1, "wipe", "")], [rest(0, '{"to":"Ann"}')], [rest(1, '{"disk":"b"}')]),
}, {
    "one after the other": BOTH,
    "in one delta": BOTH[:1],
    "in turns": [("send", {}), ("wipe", {}), ("", {"to": "Ann"}), ("", {"disk": "b"})],
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
