#!/usr/bin/env bash
# A connection that breaks off in mid answer. One expects the error that the SDK documents for a lost connection
# (`APIConnectionError`), which every example catches. openai 3.57.0 raises that; anthropic 2.14.0, groq 1.7.0
# and huggingface_hub 2.4.0 let the HTTP library's RemoteProtocolError (httpx, httpx2) through, which is no
# class of theirs, so `except anthropic.APIError` misses exactly the crash of a server. Who streams with them
# has to catch the TransportError of that library besides.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai==3.57.0 anthropic==2.14.0 groq==1.7.0 huggingface_hub==2.4.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import anthropic
import groq
import huggingface_hub
import openai

said = chunk({"role": "assistant", "content": "Hello"})
chat = serve([said], cut=True)
message = event({"type": "ping"}, "ping")


def outcome(stream):
    try:
        for _ in stream():
            pass
        return "no error"
    except Exception as error:
        return type(error).__name__


hub = huggingface_hub.InferenceClient(base_url=chat + "/v1", api_key="none")
ask = {"model": "m", "messages": ASK, "stream": True}
seen = {
    "openai": outcome(lambda: openai.OpenAI(base_url=chat + "/v1", api_key="none", max_retries=0).chat.completions.create(**ask)),
    "anthropic": outcome(lambda: anthropic.Anthropic(base_url=serve([message], cut=True), api_key="none", max_retries=0)
                         .messages.create(max_tokens=9, **ask)),
    "groq": outcome(lambda: groq.Groq(base_url=chat, api_key="none", max_retries=0).chat.completions.create(**ask)),
    "huggingface_hub": outcome(lambda: hub.chat_completion(ASK, stream=True)),
}
print("openai", openai.__version__, "anthropic", anthropic.__version__, "groq", groq.__version__,
      "huggingface_hub", huggingface_hub.__version__)
raw = "RemoteProtocolError"
verdict("APIConnectionError, or the like", seen,
        {"openai": "APIConnectionError", "anthropic": raw, "groq": raw, "huggingface_hub": raw})
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
