"""Signals that meet a thousand calls in flight, over real HTTP and in threads that are stuck."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apxm.simulator.process import SimulatorProcess, start_simulator

if sys.platform == "win32":
    pytest.skip("signals are POSIX's", allow_module_level=True)

CALLS = 1024
GONE_S = 30
"""A limit for what takes less than two seconds; only a process that is held up ever reaches it."""
SIGNALS = pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])

STUCK = """\
import asyncio, itertools, time
from apxm.backends.protocol import BackendInfo, Limits
from apxm.cli import session
from apxm.cli.main import main
from apxm.config.selection import ResolvedBackends


class Stuck:
    begun = itertools.count(1)
    limits = Limits()
    can_reason = False
    info = BackendInfo(name="stuck", kind="stuck", model="none")

    async def call(self, request):
        await asyncio.to_thread(self.work)

    def work(self):
        if next(self.begun) == 1024:
            print("all are there", flush=True)
        time.sleep(600)

    async def close(self):
        pass


session.resolve = lambda selection: ResolvedBackends({"stuck": Stuck()}, "stuck", ("model: stuck",), ())
main()
"""


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    calls = "\n".join(f'ask("Task {i}") -> a{i} print(a{i})' for i in range(CALLS))
    source = tmp_path / "wide.ais"
    source.write_text(f"agent A {{ @entry flow f() {{\n{calls}\n}} }}")
    return source


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    with start_simulator(latency="constant:600000") as process:
        yield process


def until_in_flight(simulator: SimulatorProcess, count: int) -> None:
    while simulator.metrics()["apxm_simulator_in_flight"] != count:
        pass


@SIGNALS
def test_the_process_is_gone_and_every_connection_closed(
    wide: Path, simulator: SimulatorProcess, number: signal.Signals, status: int
) -> None:
    environment = {**os.environ, "OPENAI_BASE_URL": simulator.endpoint, "OPENAI_API_KEY": "any"}
    command = [sys.executable, "-m", "apxm", "execute", str(wide), "--emit-metrics", str(wide.parent / "m.json")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            until_in_flight(simulator, CALLS)
            process.send_signal(number)
            _, err = process.communicate(timeout=GONE_S)
        finally:
            process.kill()
    assert process.returncode == status
    assert any(line.startswith("interrupted: ") for line in err.splitlines())
    assert sorted(path.name for path in wide.parent.iterdir()) == ["m.json", "wide.ais"]
    until_in_flight(simulator, 0)


@SIGNALS
def test_threads_that_are_stuck_do_not_hold_the_process(wide: Path, number: signal.Signals, status: int) -> None:
    command = [sys.executable, "-c", STUCK, "execute", str(wide)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "all are there\n"
            process.send_signal(number)
            _, err = process.communicate(timeout=GONE_S)
        finally:
            process.kill()
    assert process.returncode == status
    assert any(line.startswith("interrupted: ") for line in err.splitlines())
    assert "Traceback" not in err
