#!/usr/bin/env bash
# Claude signs each block of its thinking, and takes it back unchanged only. One expects a gateway library that sends
# thinking back to keep the blocks apart, or to leave them out. any-llm-sdk 1.40.2 makes one block of them: the words
# of both with the signature of the last, which is not theirs, and redacted thinking is gone. The API refuses such a
# turn in a tool loop. With one block it is right. Keep `reasoning` out of the history, and turn thinking off.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" "any-llm-sdk[anthropic]==1.40.2" >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import http.server, json, sys, threading


def serve(answer):
    """An upstream; `answer` makes an object out of a request's body."""
    asked = []

    class Stub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers.get("content-length") or 0))))
            said = json.dumps(answer(asked[-1])).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}", asked


def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


from importlib.metadata import version

from any_llm import completion


def thinking(text, signature):
    return {"type": "thinking", "thinking": text, "signature": signature}


CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
ONE = [thinking("one", "c2ln"), CALL]
ALL = [thinking("one", "c2ln"), {"type": "redacted_thinking", "data": "eHh4"}, thinking("two", "bmF0"), CALL]
FUNCTION = {"name": "f", "description": "does it", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}


def sent_back(blocks):
    def answer(body):
        first = len(body["messages"]) == 1
        content = blocks if first else [{"type": "text", "text": "done"}]
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": content,
                "stop_reason": "tool_use" if first else "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 9}}

    url, asked = serve(answer)
    ask = {"model": "claude-sonnet-4-5", "provider": "anthropic", "api_base": url, "api_key": "none", "reasoning_effort": "low",
           "tools": [{"type": "function", "function": FUNCTION}]}
    user = {"role": "user", "content": "hello"}
    message = completion(messages=[user], **ask).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "r"}
    completion(messages=[user, message.model_dump(exclude_none=True), result], **ask)
    return next(turn["content"] for turn in asked[1]["messages"] if turn["role"] == "assistant")


print("any-llm-sdk", version("any-llm-sdk"))
verdict("the blocks as they came, twice", {"one block": sent_back(ONE), "three": sent_back(ALL)}, {
    "one block": ONE,
    "three": [thinking("onetwo", "bmF0"), CALL],
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
