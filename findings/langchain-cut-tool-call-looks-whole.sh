#!/usr/bin/env bash
# A tool call whose arguments are cut by the token limit (finish reason "length") is no valid JSON. One expects
# langchain to put it among `invalid_tool_calls`, the list made for that. langchain-core 1.8.3 closes the JSON
# by itself: `{"amount": 12` is a valid call with amount 12, and a cut path is a shorter path;
# `invalid_tool_calls` is empty. pydantic-ai raises, and the AI SDK marks the call as invalid. An agent that
# looks at `tool_calls` only runs it. Look at the finish reason first.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" langchain-openai==1.7.4 langchain-core==1.8.3 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


from importlib.metadata import version

from langchain_openai import ChatOpenAI


def ask(arguments, finish):
    call = {"index": 0, "id": "c0", "type": "function", "function": {"name": "pay", "arguments": arguments}}
    url = serve([chunk({"role": "assistant", "content": None}), chunk({"tool_calls": [call]}), chunk({}, finish), DONE])
    whole = None
    for part in ChatOpenAI(model="m", base_url=url + "/v1", api_key="none", max_retries=0).stream("hello"):
        whole = part if whole is None else whole + part
    return [c["args"] for c in whole.tool_calls], len(whole.invalid_tool_calls)


print("langchain-core", version("langchain-core"), "langchain-openai", version("langchain-openai"))
verdict("no call, one invalid call (twice)",
        [ask('{"amount": 12', "length"), ask('{"path": "/home/user', "length")],
        [([{"amount": 12}], 0), ([{"path": "/home/user"}], 0)])
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
