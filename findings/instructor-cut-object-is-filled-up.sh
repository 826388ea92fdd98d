#!/usr/bin/env bash
# When an answer meets its token limit, instructor raises IncompleteOutputException. One expects so of its streams,
# too. With instructor 1.17.0, `create_partial` takes the half object for the last one: an age of 41 cut to 4 is 4,
# half a name is a name, and fields that never came have their defaults, with no error; `create_iterable` just has
# fewer objects, and none when the model answers in prose. A required field at the end of the model tells: None
# there means cut.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" instructor==1.17.0 openai==3.3.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import instructor, openai, pydantic
from importlib.metadata import version


class Person(pydantic.BaseModel):
    name: str
    age: int
    banned: bool = False


def ask(method, text, finish):
    url = serve([ROLE, chunk({"content": text[:9]}), chunk({"content": text[9:]}), chunk({}, finish), DONE])
    client = instructor.from_openai(openai.OpenAI(api_key="none", base_url=url, max_retries=0), mode=instructor.Mode.JSON)
    try:
        asked = getattr(client.chat.completions, method)
        found = asked(model="m", response_model=Person, max_retries=0, messages=[{"role": "user", "content": "hello"}])
        return [(person.name, person.age, person.banned) for person in found]
    except Exception as error:
        return type(error).__name__


def unstreamed():
    message = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": '{"name": "Ann", "age": 4'}}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [message]}
    client = openai.OpenAI(api_key="none", base_url=serve([json.dumps(body)], kind="application/json"), max_retries=0)
    try:
        chat = instructor.from_openai(client, mode=instructor.Mode.JSON).chat.completions
        return chat.create(model="m", response_model=Person, max_retries=0, messages=[{"role": "user", "content": "hello"}])
    except Exception as error:
        return type(error).__name__


def last(found):
    return found[-1] if isinstance(found, list) else found


print("instructor", version("instructor"))
verdict("an error for all but the second", {
    "not streamed, limit": unstreamed(),
    "partial, whole": last(ask("create_partial", '{"name": "Ann", "age": 41, "banned": true}', "stop")),
    "partial, limit": last(ask("create_partial", '{"name": "Ann", "age": 4', "length")),
    "iterable, limit": ask("create_iterable", '{"tasks": [{"name": "Ann", "age": 41}, {"name": "B', "length"),
    "iterable, prose": ask("create_iterable", "I cannot tell you that.", "stop"),
}, {
    "not streamed, limit": "IncompleteOutputException",
    "partial, whole": ("Ann", 41, True),
    "partial, limit": ("Ann", 4, False),
    "iterable, limit": [("Ann", 41, False)],
    "iterable, prose": [],
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
