"""A simulator in a process of its own, so that it does not share an interpreter with what is measured against it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from tempfile import TemporaryFile
from typing import IO

import msgspec
from msgspec import Struct

from apxm.backends.latency import DEFAULT_LATENCY
from apxm.errors import ApxmError, InternalError
from apxm.simulator.options import SimulatorOptions

_STARTING_S = 60.0
_ENDING_S = 5.0
_MAX_SAID = 16 * 1024

_NEEDED = frozenset({
    "COLUMNS", "DYLD_LIBRARY_PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "LINES", "LOGNAME", "NO_COLOR", "PATH",
    "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONUTF8", "TEMP", "TERM", "TMP",
    "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
    # of Windows
    "APPDATA", "COMSPEC", "LOCALAPPDATA", "PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "USERPROFILE",
    "WINDIR",
})  # fmt: skip


class SimulatorProcess(Struct, frozen=True):
    """A simulator that listens on a free port of this machine."""

    endpoint: str
    """The base URL for clients: ``http://127.0.0.1:PORT/v1``."""
    port: int
    pid: int

    def begin_iteration(self, iteration: int) -> None:
        """Has calls from here on draw latencies as those of this iteration, each prompt from its first occurrence.

        Called before each run, it lets two systems that are compared meet the same draws. Nothing may be in flight.
        """
        self._request("POST", "/control/iteration", msgspec.json.encode({"iteration": iteration}))

    def metrics(self) -> dict[str, float]:
        """The samples of ``/metrics`` by name, labels included."""
        lines = self._request("GET", "/metrics").decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_ENDING_S)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise InternalError(f"the simulator answered {response.status} to {method} {path}: {content.decode()}")
        return content


def process_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a Python process needs of an environment: where things lie, and how text is written. Nothing by which a
    library would do something else than it was asked to."""
    return {name: value for name, value in environment.items() if name in _NEEDED or name.startswith("LC_")}


@contextmanager
def start_simulator(
    *,
    latency: str = DEFAULT_LATENCY,
    slowdown: str = "none",
    faults: str = "none",
    seed: int = 0,
    tokens_per_second: float | None = None,
) -> Generator[SimulatorProcess]:
    """Runs ``apxm simulator`` for as long as the block lasts.

    It ends with this process, however that ends: it reads a pipe whose other end is held here, and an end of this
    process closes that. Ctrl-C does not reach it, so whoever is interrupted can still wind up the calls in flight.

    Raises `UsageError` for options that make no sense, and `ApxmError` with what the process said where it ends by
    itself.
    """
    options = SimulatorOptions(
        latency=latency, slowdown=slowdown, faults=faults, seed=seed, tokens_per_second=tokens_per_second
    )
    with TemporaryFile() as said, _popen(options, said) as process:
        try:
            try:
                yield _announced(process)
            finally:
                _end(process)
        except Exception:
            _must_have_ended_well(process, said)  # else that is why
            raise
        _must_have_ended_well(process, said)


def _popen(options: SimulatorOptions, said: IO[bytes]) -> subprocess.Popen[bytes]:
    # -P: a module in the working directory must not stand in for one of ours.
    command = [sys.executable, "-P", "-m", "apxm", "simulator", "--json", "--quiet", "--stop-with-input"]
    given = {name: getattr(options, name) for name in ("latency", "slowdown", "faults", "seed", "tokens_per_second")}
    command += [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    pipe = subprocess.PIPE  # the child ends when its input closes, which whatever ends this process does, too
    environment = process_environment(os.environ)
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, start_new_session=True, env=environment)


def _announced(process: subprocess.Popen[bytes]) -> SimulatorProcess:
    """Waits until it listens: it says so in one line."""
    assert process.stdout is not None
    limit = threading.Timer(_STARTING_S, process.kill)
    limit.start()
    try:
        line = process.stdout.readline()
    finally:
        limit.cancel()
    if not line:
        raise EOFError
    return msgspec.json.decode(line, type=SimulatorProcess)


def _must_have_ended_well(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    if process.returncode != 0:
        said.seek(0)
        words = said.read(_MAX_SAID).decode(errors="replace").strip()
        raise ApxmError(f"the simulator ended with status {process.returncode}: {words or 'it said nothing'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING_S)
    finally:
        process.kill()
        process.wait()
