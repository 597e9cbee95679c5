"""`transformers serve` with these arguments, which ends as soon as its standard input does.

Runs in the engine's environment. The pipe ends with whoever started the engine, however that ends. And an engine with
`--continuous-batching` does not end on a signal: its worker thread goes on for ever.
"""

from __future__ import annotations

import os
import sys
import threading

from transformers.cli.transformers import main


def end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
sys.argv[:1] = ["transformers", "serve"]
main()
