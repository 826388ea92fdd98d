"""llama.cpp's HTTP server: MODEL PORT. Like `llama-server -m MODEL --port PORT -c 8192 -np 4 -n 60 -t 1`."""
import signal
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = int(sys.argv[2])
params.n_ctx = 8192
params.n_parallel = 4
params.n_predict = 60
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
signal.pause()
