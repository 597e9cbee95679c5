"""llama.cpp as a child process, in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-llama/bin/python"


@contextmanager
def llama_cpp(folder: Path, *options: str) -> Generator[str]:
    """The base URL of a server with a model that is made in `folder` with these options of `tiny_gguf.py`. What it logs
    is in `engine.log` there."""
    model, log = folder / "tiny.gguf", folder / "engine.log"
    subprocess.run([PYTHON, HERE / "tiny_gguf.py", model, *options], check=True, timeout=60)
    command = [PYTHON, HERE / "serve_llama_cpp.py", model]
    with (
        log.open("w") as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # Before its address, it tells of the instructions that this processor has.
            address = next((line.strip() for line in process.stdout if line.startswith("http://")), None)
            assert address, log.read_text()
            yield f"{address}/v1"
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
