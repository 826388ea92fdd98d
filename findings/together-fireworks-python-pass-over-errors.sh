#!/usr/bin/env bash
# A stream of the OpenAI kind can fail after its 200: the server then sends an object with `error`, alone or as an
# event named `error`. One expects an SDK to raise it either way, as groq 1.7.0 does, of the same generator.
# together 3.1.1 (Python) passes over each event with a name, so the named error is lost; fireworks-ai 1.2.30
# (Python) hands both out as chunks whose `choices` are None. A loop that skips chunks without choices ends with
# half an answer and no error. Look for the finish reason.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" groq==1.7.0 together==3.1.1 fireworks-ai==1.2.30 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import fireworks, groq, together

ERROR = {"error": {"message": "the model has crashed", "type": "server_error"}}
QUESTION = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}


def ask(client, name):
    text, finish = "", None
    try:
        url = serve([ROLE, chunk({"content": "Do not"}), data(ERROR, name)])
        for part in client(url).chat.completions.create(**QUESTION):
            if part.choices:
                text += part.choices[0].delta.content or ""
                finish = part.choices[0].finish_reason
        return text, finish
    except Exception as error:
        return str(error)


CLIENTS = {
    "groq": lambda url: groq.Groq(api_key="none", base_url=url.removesuffix("/v1"), max_retries=0),
    "together": lambda url: together.Together(api_key="none", base_url=url, max_retries=0),
    "fireworks": lambda url: fireworks.Fireworks(api_key="none", base_url=url, max_retries=0),
}
print("groq 1.7.0, together 3.1.1, fireworks-ai 1.2.30")
verdict("the error six times", {name: [ask(client, None), ask(client, "error")] for name, client in CLIENTS.items()}, {
    "groq": ["the model has crashed", "the model has crashed"],
    "together": ["the model has crashed", ("Do not", None)],
    "fireworks": [("Do not", None), ("Do not", None)],
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
