#!/usr/bin/env bash
# A model that refuses says so in `delta.refusal`, not in `delta.content`. One expects langchain to show it in
# `additional_kwargs["refusal"]`, where it is for answers that are not streamed, or as text. langchain-openai
# 1.7.4 drops it when streaming: the message is empty, with finish reason "stop" and no sign of a refusal.
# (pydantic-ai raises ContentFilterError, the Vercel AI SDK makes it text.) An empty answer at the end of a
# stream may be a refusal here.
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

url = serve([chunk({"role": "assistant", "content": None}), chunk({"refusal": "I can"}), chunk({"refusal": "not"}),
             chunk({}, "stop"), DONE])
whole = None
for part in ChatOpenAI(model="m", base_url=url + "/v1", api_key="none", max_retries=0).stream("hello"):
    whole = part if whole is None else whole + part
print("langchain-openai", version("langchain-openai"))
verdict("'I cannot' somewhere", (whole.content, whole.additional_kwargs, whole.response_metadata["finish_reason"]),
        ("", {}, "stop"))
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
