#!/usr/bin/env bash
# `client.responses.stream()` has `get_final_response()`. An answer that met its limit ends with
# `response.incomplete`, one that failed with `response.failed`, a broken one with `error`. One expects the
# response with its status, or an APIError with the server's words. openai 3.57.0 (Python) raises RuntimeError
# "Didn't receive a `response.completed` event." for all three: text, usage and reason are gone, and `except
# openai.OpenAIError` does not catch it. openai for JavaScript returns the response. Users of this helper cannot
# tell a token limit from a server fault; read the events instead.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" openai==3.57.0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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

def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.exit(0 if same else 1)


import openai


def response(status, **more):
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": [],
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None,
            "instructions": None, "metadata": {}, "temperature": 1, "top_p": 1, **more}


def ask(kind, **more):
    events = [("response.created", {"response": response("in_progress")}), (kind, more)]
    url = serve([event({"type": k, "sequence_number": n, **v}, k) for n, (k, v) in enumerate(events)])
    client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    try:
        with client.responses.stream(model="m", input="hello") as stream:
            return stream.get_final_response().status
    except Exception as error:
        return type(error).__name__, isinstance(error, openai.OpenAIError)


print("openai", openai.__version__)
verdict("'incomplete', 'failed', an openai.APIError",
        [ask("response.incomplete", response=response("incomplete", incomplete_details={"reason": "max_output_tokens"})),
         ask("response.failed", response=response("failed", error={"code": "server_error", "message": "gone"})),
         ask("error", code="server_error", message="gone", param=None)],
        [("RuntimeError", False)] * 3)
PY
PYTHONPATH="$dir/site" timeout 120 python3 -s -W ignore "$dir/finding.py" || exit 1
