"""Limits by the minute, seen by the server. A minute is a second here."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import Limits, ModelAnswer, ModelRequest
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


class Timed(OpenAIBackend):
    """Tells when each request is let go."""

    def __init__(self, endpoint: str) -> None:
        super().__init__("b", OpenAISettings(model="tiny", endpoint=endpoint), {})
        self.let_go: dict[str, float] = {}

    async def call(self, request: ModelRequest) -> ModelAnswer:
        self.let_go[request.prompt] = asyncio.get_running_loop().time()
        return await super().call(request)


class Arrived(NamedTuple):
    seen: list[tuple[float, int]]
    """When requests arrived, in seconds, and what each cost."""
    late: float
    """By how much the slowest request was on its way longer than the quickest, in seconds. Nobody can promise a server
    anything about shorter times: what was let go in a second can arrive in so much less."""

    def most_in_a_second(self) -> int:
        window = 1 - self.late
        return max(
            sum(cost for when, cost in self.seen[i:] if when < begin + window) for i, (begin, _) in enumerate(self.seen)
        )


def arrivals(limits: Limits, calls: int, runs: int) -> Arrived:
    seen: list[tuple[float, int]] = []
    came: dict[str, float] = {}
    plans = [
        program(plan_of(*[ask(f"Task {i} of {run}", max_tokens=round(ACTUAL * 1.2)) for i in range(calls)]))
        for run in range(runs)
    ]

    async def main() -> Timed:
        loop = asyncio.get_running_loop()

        def script(request: Received) -> Reply:
            prompt = request.json["messages"][-1]["content"]
            came[prompt] = loop.time()
            seen.append((came[prompt], ACTUAL + 10))
            answer = completion("Fine.", usage={"prompt_tokens": 10, "completion_tokens": ACTUAL})
            return replace(answer, headers={**answer.headers, "Server-Timing": "total;dur=0"})

        async with Server(script) as server:
            backend = Timed(server.endpoint)
            pool = BackendPool({"b": backend}, "b")
            pool.gates["b"] = Gate("b", limits, window_ns=SECOND)
            traces = await asyncio.gather(*(Run(LoadedProgram(p), p.flows[0], (), pool).execute() for p in plans))
            assert not any(trace.failures for trace in traces)
            return backend

    with asyncio.Runner(loop_factory=real_loop) as runner:
        let_go = runner.run(main()).let_go
    on_the_way = [came[prompt] - let_go[prompt] for prompt in let_go]
    return Arrived(seen, max(on_the_way) - min(on_the_way))


@pytest.mark.parametrize("calls", [60, pytest.param(250, marks=pytest.mark.soak)])
def test_requests_pass_their_limit_in_no_window(calls: int) -> None:
    arrived = arrivals(Limits(requests_per_minute=50), calls, runs=2)
    assert len(arrived.seen) == 2 * calls
    assert arrived.most_in_a_second() <= 50 * (ACTUAL + 10)


@pytest.mark.parametrize("calls", [40, pytest.param(250, marks=pytest.mark.soak)])
def test_tokens_pass_their_limit_in_no_window(calls: int) -> None:
    arrived = arrivals(Limits(tokens_per_minute=5_000), calls, runs=2)
    assert len(arrived.seen) == 2 * calls
    assert arrived.most_in_a_second() <= 5_000
