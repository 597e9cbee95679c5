"""A real engine as a child process: `transformers serve` on the CPU, with a model made on the spot."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import monotonic, sleep
from typing import IO

from apxm.errors import ApxmError

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-real/bin/python"
MODEL = "tiny-llama"
HOST = "127.0.0.1"

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""For arithmetic. The model is too small to gain by a second thread, and the client needs a core as well."""

_STARTING_S = 120.0
_POLL_S = 0.05
_ENDING_S = 10.0
_MAX_SAID = 4000


@contextmanager
def model_folder() -> Generator[Path]:
    """A folder with the model in it, for as long as the block runs."""
    with TemporaryDirectory(prefix="apxm-bench-real-") as folder, TemporaryFile() as said:
        command = [PYTHON, HERE / "tiny_llama.py", MODEL]
        made = subprocess.run(command, check=False, cwd=folder, env=_environment(), stdout=said, stderr=said)
        if made.returncode != 0:
            raise ApxmError(f"the model could not be made: {_words(said)}")
        yield Path(folder)


@contextmanager
def engine(folder: Path, *options: str) -> Generator[str]:
    """The base URL of an engine that serves the model of `folder`, with further options of `transformers serve`.

    Raises `ApxmError` with what the engine said where it does not come to answer.
    """
    port = _free_port()
    command = [PYTHON, HERE / "serve.py", MODEL, "--device", "cpu", "--host", HOST, "--port", str(port)]
    command += ["--log-level", "error", *options]
    with (
        TemporaryFile() as said,
        # The model is named relative to its folder: `@` and `:` in a path mean other things to the engine.
        subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait_until_healthy(process, port, said)
            yield f"http://{HOST}:{port}/v1"
        finally:
            _end(process)


def engine_versions() -> dict[str, str]:
    script = "from importlib.metadata import version as v; print(v('torch'), v('transformers'))"
    found = subprocess.run([PYTHON, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(("torch", "transformers"), found, strict=True))


def _environment() -> dict[str, str]:
    return {**os.environ, **OFFLINE, **ONE_THREAD}


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return server.getsockname()[1]


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    limit = monotonic() + _STARTING_S
    while process.poll() is None and monotonic() < limit:
        if _is_healthy(port):
            return
        sleep(_POLL_S)
    happened = "does not answer" if process.poll() is None else f"ended with status {process.returncode}"
    raise ApxmError(f"the engine {happened}: {_words(said)}")


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=_ENDING_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _words(said: IO[bytes]) -> str:
    """The end of what a process said."""
    said.seek(0)
    return said.read().decode(errors="replace").strip()[-_MAX_SAID:] or "it said nothing"
