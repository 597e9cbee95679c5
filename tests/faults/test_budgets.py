"""Budgets over HTTP, with faults: what the server counted never passes the limit."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.runtime import retries
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.simulator.process import SimulatorProcess, start_simulator
from tests.plans import ask, plan, program

FAULTS = "500:0.05,reset_mid:0.05,truncated:0.05,empty:0.05,429:0.01"


def counted(simulator: SimulatorProcess) -> float:
    metrics = simulator.metrics()
    return sum(value for name, value in metrics.items() if "tokens_total" in name)


async def one_run(endpoint: str, calls: int, max_tokens: int, options: RunOptions) -> Trace:
    settings = OpenAISettings(model="simulated", endpoint=endpoint, timeout_s=5)
    pool = BackendPool({"b": OpenAIBackend("b", settings, {})}, "b")
    p = program(plan(*[ask(f"Say {'more ' * (i % 40)}{i}", max_tokens=max_tokens) for i in range(calls)]))
    return await Run(LoadedProgram(p), p.flows[0], (), pool, options).execute()


@pytest.mark.parametrize("runs", [5, pytest.param(200, marks=pytest.mark.soak)])
def test_what_the_server_counted_never_passes_the_limit(runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE_NS", 5_000_000)  # what a retry costs is the same after any pause
    random = Random(3)
    with (
        start_simulator(latency="constant:2", faults=f"{FAULTS},seed:5") as simulator,
        asyncio.Runner(loop_factory=real_loop) as runner,
    ):
        for _ in range(runs):
            limit = random.randrange(100, 20_000)
            before = counted(simulator)
            options = RunOptions(max_total_tokens=limit, max_concurrency=random.choice([1, 4, 64]))
            calls, most = random.randrange(1, 100), random.randrange(1, 60)
            trace = runner.run(one_run(simulator.endpoint, calls, most, options))
            assert trace.budget is not None
            used = counted(simulator) - before
            assert used <= trace.budget.spent.tokens <= limit


@pytest.mark.parametrize("limit", [20_000])
def test_nearly_all_of_it_is_used_where_there_is_work(limit: int) -> None:
    with start_simulator(latency="constant:2") as simulator:
        options = RunOptions(max_total_tokens=limit, max_concurrency=64)
        with asyncio.Runner(loop_factory=real_loop) as runner:
            trace = runner.run(one_run(simulator.endpoint, 2_000, 20, options))
        assert 0.95 * limit <= counted(simulator) <= limit
    assert trace.status == "stopped"
