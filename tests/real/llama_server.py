"""llama.cpp's own HTTP server, from the package xllamacpp: llama_server.py MODEL PORT THREADS CONTEXT SLOTS CACHE."""

import sys
import threading

import xllamacpp

model = sys.argv[1]
port, threads, context, slots, cache = map(int, (sys.argv[2:] + ["0"])[:5])
params = xllamacpp.CommonParams()
params.model.path = model
params.model_alias = {"real"} if isinstance(params.model_alias, set) else "real"
params.hostnames, params.port = ["127.0.0.1"], port
params.n_ctx, params.n_parallel = context, slots
params.use_jinja, params.warmup, params.endpoint_slots = True, False, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
# A prompt that is read in other portions gives other near ties: without the cache each answer is the same, also by a new process.
params.cache_prompt = bool(cache)
server = xllamacpp.Server(params)
print("listening", server.listening_address, flush=True)
threading.Event().wait()
