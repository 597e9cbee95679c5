"""Limits by the minute, seen by the server. A minute is a second here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import Limits
from apxm.backends.settings import OpenAISettings
from apxm.runtime.gates import Gate
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.scheduler import Run
from tests.plans import ask, program
from tests.plans import plan as plan_of
from tests.servers import Received, Reply, Server, completion

SECOND = 1_000_000_000
ACTUAL = 100
"""Tokens of each answer; the call allows 1.2 times as many."""


def arrivals(limits: Limits, calls: int, runs: int) -> list[tuple[float, int]]:
    """When requests arrived, in seconds, and what each cost."""
    found: list[tuple[float, int]] = []
    p = program(plan_of(*[ask(f"Task {i}", max_tokens=round(ACTUAL * 1.2)) for i in range(calls)]))

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def script(_request: Received) -> Reply:
            found.append((loop.time(), ACTUAL + 10))
            answer = completion("Fine.", usage={"prompt_tokens": 10, "completion_tokens": ACTUAL})
            return replace(answer, headers={**answer.headers, "Server-Timing": "total;dur=0"})

        async with Server(script) as server:
            settings = OpenAISettings(model="tiny", endpoint=server.endpoint)
            pool = BackendPool({"b": OpenAIBackend("b", settings, {})}, "b")
            pool.gates["b"] = Gate("b", limits, window_ns=SECOND)
            loaded = LoadedProgram(p)
            traces = await asyncio.gather(*(Run(loaded, p.flows[0], (), pool).execute() for _ in range(runs)))
            assert not any(trace.failures for trace in traces)

    with asyncio.Runner(loop_factory=real_loop) as runner:
        runner.run(main())
    return found


def most_in_a_second(arrived: Sequence[tuple[float, int]]) -> int:
    return max(sum(cost for when, cost in arrived[i:] if when < begin + 1) for i, (begin, _) in enumerate(arrived))


@pytest.mark.parametrize("calls", [60, pytest.param(250, marks=pytest.mark.soak)])
def test_requests_pass_their_limit_in_no_window(calls: int) -> None:
    arrived = [(when, 1) for when, _ in arrivals(Limits(requests_per_minute=50), calls, runs=2)]
    assert len(arrived) == 2 * calls
    assert most_in_a_second(arrived) <= 50


@pytest.mark.parametrize("calls", [40, pytest.param(250, marks=pytest.mark.soak)])
def test_tokens_pass_their_limit_in_no_window(calls: int) -> None:
    arrived = arrivals(Limits(tokens_per_minute=5_000), calls, runs=2)
    assert len(arrived) == 2 * calls
    assert most_in_a_second(arrived) <= 5_000
