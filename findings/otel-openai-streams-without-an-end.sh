#!/usr/bin/env bash
# A trace of a streamed answer should tell how it ended, as that of an unstreamed one does. One expects of
# OpenTelemetry's instrumentation a span for each stream, with `gen_ai.response.finish_reasons`. The spans of
# opentelemetry-instrumentation-openai-v2 2.4b0 have no finish reason when the answer is streamed, so a whole, a
# limited and a cut one look alike (no usage is the only hint of a cut), and a reader that leaves by `break` leaves
# no span at all. Read streams in a `with`. The newest opentelemetry-util-genai that it allows, 1.3b0, makes it fail
# on import; 1.1b0 works.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --target "$dir/site" opentelemetry-instrumentation-openai-v2==2.4b0 opentelemetry-util-genai==1.1b0 opentelemetry-sdk==1.45.2 openai==2.54.0 >"$dir/log" 2>&1 && python3 -m pip install -q --root-user-action=ignore --no-compile --no-deps --target "$dir/newer" opentelemetry-util-genai==1.3b0 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
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


import gc, openai, os, subprocess
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
OpenAIInstrumentor().instrument(tracer_provider=provider)
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
TEXT = [ROLE, chunk({"content": "Hello"}), chunk({"content": " world."})]


def ask(*pieces, leave=False, stream=True, within=False):
    spans.clear()
    client = openai.OpenAI(api_key="none", base_url=serve(pieces), max_retries=0)
    answer = client.chat.completions.create(model="m", stream=stream, messages=[{"role": "user", "content": "hello"}])
    if within:
        with answer:
            next(iter(answer))
    elif stream:
        for _ in answer:
            if leave:
                break
    del answer, client
    gc.collect()
    seen = [dict(span.attributes) for span in spans.get_finished_spans()]
    return [(span.get("gen_ai.response.finish_reasons"), span.get("gen_ai.usage.output_tokens")) for span in seen]


def unstreamed():
    message = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "Hello"}}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [message], "usage": USAGE}
    return ask(json.dumps(body), stream=False)


newer = os.path.join(os.environ["PYTHONPATH"].removesuffix("site"), "newer")
path = f"{newer}{os.pathsep}{os.environ['PYTHONPATH']}"
imported = subprocess.run(
    [sys.executable, "-s", "-c", "import opentelemetry.instrumentation.openai_v2"],
    env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True).stderr.strip().splitlines()
print("opentelemetry-instrumentation-openai-v2 2.4b0, openai", openai.__version__)
verdict("a finish reason for all but the cut one, and a span for the one that was left", {
    "not streamed": unstreamed(),
    "whole": ask(*TEXT, chunk({}, "stop", usage=USAGE), DONE),
    "limited": ask(*TEXT, chunk({}, "length", usage=USAGE), DONE),
    "cut": ask(*TEXT),
    "left": ask(*TEXT, chunk({}, "stop", usage=USAGE), DONE, leave=True),
    "left, with": ask(*TEXT, chunk({}, "stop", usage=USAGE), DONE, within=True),
    "import with 1.3b0": imported[-1] if imported else "",
}, {
    "not streamed": [(("length",), 2)],
    "whole": [(None, 2)],
    "limited": [(None, 2)],
    "cut": [(None, None)],
    "left": [],
    "left, with": [(None, None)],
    "import with 1.3b0": "ModuleNotFoundError: No module named 'opentelemetry.util.genai.instruments'",
})
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" || exit 1
