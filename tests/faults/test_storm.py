"""A thousand calls at an endpoint that fails one call in five, in every way there is."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from apxm.backends.faults import KINDS, OF_SHAPES
from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.simulator.process import start_simulator
from tests.plans import ask, give, merge, plan, program

SHARE = 0.2


def fan_out(count: int) -> Program:
    return program(plan(*[ask(f"Task {i}") for i in range(count)], merge(*range(count)), give(count)))


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def run(p: Program, endpoint: str, at_once: int) -> Trace:
    settings = OpenAISettings(
        model="simulated", endpoint=endpoint, timeout_s=1, max_answer_mib=1, max_concurrency=at_once
    )

    async def main() -> Trace:
        pool = BackendPool({"b": OpenAIBackend("b", settings, {})}, "b")
        trace = await Run(LoadedProgram(p), p.flows[0], (), pool, RunOptions()).execute()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await pool.close()
        return trace

    with asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(main())


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="counts the files that are open")
@pytest.mark.parametrize("count", [60, pytest.param(1_000, marks=pytest.mark.soak)])
def test_all_answers_are_right_and_nothing_is_left(count: int) -> None:
    met = [kind for kind in KINDS if kind not in OF_SHAPES]
    kinds = ",".join(f"{kind}:{SHARE / len(met):.5f}" for kind in met)
    p = fan_out(count)
    with start_simulator(latency="constant:5") as simulator:
        expected = run(p, simulator.endpoint, 64).value
        files, threads = open_files(), threading.active_count()
    with start_simulator(latency="constant:5", faults=f"{kinds},seed:7") as simulator:
        trace = run(p, simulator.endpoint, 64)
        assert not trace.failures
        assert trace.value == expected
        attempts = trace.attempts
        faults = sum(value for name, value in simulator.metrics().items() if "faults" in name)
    assert attempts - count <= faults, "only what failed is tried again"
    assert attempts - count <= 2 * SHARE * count + 10
    # The connections of the client close by themselves a while later; the simulator's end closes them now.
    assert open_files() <= files + 8
    assert threading.active_count() <= threads + 1, "the thread that watches ends a moment later"
