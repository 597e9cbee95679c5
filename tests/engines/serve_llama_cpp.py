"""llama.cpp's HTTP server with the model of a file: prints its address, and ends as soon as its standard input does.

Runs in the engine's environment. The pipe ends with whoever started the engine, however that ends.
"""

from __future__ import annotations

import os
import sys

from xllamacpp import CommonParams, Server

parameters = CommonParams()
parameters.model.path = sys.argv[1]
parameters.model_alias = "tiny"
parameters.port = 0
parameters.n_parallel = 4
parameters.n_ctx = 32768
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
server = Server(parameters)
print(server.listening_address, flush=True)
sys.stdin.buffer.read()
os._exit(0)
