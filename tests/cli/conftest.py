"""Runs the command with nothing configured, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from apxm.cli.main import main
from apxm.cli.starting import SIGNALS

ROOT = Path(__file__).parent.parent.parent
CONFIGURING = ("OPENAI_", "APXM_", "XDG_", "NO_COLOR")


class Ended(NamedTuple):
    status: int
    out: str
    err: str


Apxm = Callable[..., Ended]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(CONFIGURING)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """The command takes the process's signals; in this process that ends with the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def apxm(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Apxm:
    """`apxm("check", "file.ais")` in this process, which saves the time to load the compiler again."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["apxm", *arguments])
        for stream in ("stdout", "stderr"):  # the command replaces them, and in this process that ends with the test
            monkeypatch.setattr(sys, stream, getattr(sys, stream))
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Ended(int(left.value.code or 0), out, err)

    return run


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("execute", "file.ais")`: a process of its own, for what only a process has: signals, pipes, a terminal.

    What a failed test leaves running, or open, ends with it: the next test would be blamed.
    """
    started: list[subprocess.Popen[str]] = []

    def popen(*arguments: str, **options: object) -> subprocess.Popen[str]:
        streams: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        started.append(subprocess.Popen([sys.executable, "-m", "apxm", *arguments], text=True, **streams))  # type: ignore[call-overload]
        return started[-1]

    yield popen
    for process in started:
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait()
