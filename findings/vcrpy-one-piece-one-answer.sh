#!/usr/bin/env bash
# vcrpy records HTTP for tests. One expects a stream to arrive as it is sent while it is recorded, and a prompt to
# get the answer that was recorded for it. With vcrpy 9.4.2 and httpx 0.28.1 the recorded stream comes in one piece,
# after its end, so a test that leaves after the first token has waited for all; and the body is not compared: every
# prompt to the same URL, as all prompts are, gets the first answer of the cassette. Use `match_on=[…, "body"]`, and
# test leaving and pauses without it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" vcrpy==9.4.2 httpx==0.28.1 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import http.server, httpx, json, os, sys, tempfile, threading, vcr

gate = threading.Event()


class Stub(http.server.BaseHTTPRequestHandler):
    """Repeats the prompt in two events; the second waits for the gate, which the reader opens when it has the first."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        prompt = json.loads(self.rfile.read(int(self.headers["content-length"])))["prompt"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for n in (1, 2):
            piece = f"data: {prompt} {n}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            if n == 1:
                gate.wait(2)
        self.wfile.write(b"0\r\n\r\n")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()


def ask(prompt):
    gate.clear()
    pieces = []
    with httpx.stream("POST", f"http://127.0.0.1:{server.server_address[1]}/", json={"prompt": prompt}) as response:
        for piece in response.iter_raw():
            gate.set()
            pieces.append(piece.decode().replace("data: ", "").strip().replace("\n\n", ", "))
    return pieces


def taped(prompt, tape, **more):
    try:
        with vcr.use_cassette(tape, **more):
            return ask(prompt)
    except Exception as error:
        return type(error).__name__


print("vcrpy", vcr.__version__, "httpx", httpx.__version__)
with tempfile.TemporaryDirectory() as folder:
    tape, strict = os.path.join(folder, "a.yaml"), {"match_on": ["method", "uri", "body"]}
    seen = {
        "no tape": ask("one"),
        "recorded": taped("one", tape),
        "played, one": taped("one", tape),
        "played, two": taped("two", tape),
        "played, two, with the body": taped("two", tape, **strict),
    }
verdict("two pieces when recorded, and none of one for two", seen, {
    "no tape": ["one 1", "one 2"],
    "recorded": ["one 1, one 2"],
    "played, one": ["one 1, one 2"],
    "played, two": ["one 1, one 2"],
    "played, two, with the body": "CannotOverwriteExistingCassetteException",
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
