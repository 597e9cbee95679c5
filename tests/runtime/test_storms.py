"""Any failures, limits and budgets together, on virtual time: every run ends, and every limit holds."""

from __future__ import annotations

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.runtime.windows import MINUTE_NS
from apxm.testing import ScriptedBackend, run_virtually
from tests.plans import ask, merge, plan, program

KINDS = ("connection", "timeout", "http_status", "rate_limited", "unreadable_answer")


def random_program(random: Random) -> Program:
    count = random.randrange(1, 30)
    nodes = []
    for i in range(count):
        operands = random.sample(range(i), min(i, random.choice([0, 0, 1])))
        nodes.append(ask(f"Task {i}" if not operands else operands[0], max_tokens=random.randrange(1, 60)))
    return program(plan(*nodes, merge(*range(count))))


def random_backend(random: Random) -> ScriptedBackend:
    share = random.choice([0.0, 0.2, 0.5, 0.9, 1.0])

    def script(request: ModelRequest) -> str | BackendError:
        if random.random() < share:
            pause = random.choice([None, None, 0.5, 20, 700])
            kind = random.choice(KINDS)
            return BackendError(
                kind, "no", retryable=random.random() < 0.9, retry_after_s=pause, patience_s=random.choice([None, 2])
            )
        assert request.max_tokens is not None
        return " ".join(["w"] * random.randrange(1, request.max_tokens + 1))

    return ScriptedBackend(
        script,
        lambda _: random.randrange(1, 3000),
        max_concurrency=random.choice([None, 1, 3]),
        requests_per_minute=random.choice([None, 5, 40]),
        tokens_per_minute=random.choice([None, 300, 3000]),
        timeout_s=random.choice([None, 2]),
        retries=random.choice([0, 2, 6]),
    )


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_run_ends_and_every_limit_holds(seed: int) -> None:
    random = Random(seed)
    backend = random_backend(random)
    pool = BackendPool({"scripted": backend}, "scripted")
    options = [
        RunOptions(
            max_concurrency=random.choice([None, 1, 4]),
            max_total_tokens=random.choice([None, 400, 5000]),
            timeout_s=random.choice([None, 30, 3000]),
            seed=seed,
        )
        for _ in range(random.choice([1, 1, 2, 3]))
    ]

    async def main() -> list[Trace]:
        programs = [random_program(random) for _ in options]
        runs = [Run(LoadedProgram(p), p.flows[0], (), pool, o) for p, o in zip(programs, options, strict=True)]
        traces = list(await asyncio.gather(*(run.execute() for run in runs)))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return traces

    for trace, option in zip(run_virtually(main()), options, strict=True):
        assert trace.status in (Status.SUCCEEDED, Status.FAILED, Status.STOPPED)
        assert option.max_concurrency is None or trace.max_in_flight <= option.max_concurrency
        if trace.budget is not None:
            assert trace.budget.reserved.tokens == 0
            assert trace.budget.spent.tokens <= (option.max_total_tokens or 0)
    _holds(backend)


def _holds(backend: ScriptedBackend) -> None:
    sent = [round(call.sent_ms * 1e6) for call in backend.calls]
    ended = [round((call.ended_ms if call.ended_ms is not None else 1e12) * 1e6) for call in backend.calls]
    for i, begun in enumerate(sent):
        if backend.max_concurrency is not None and not backend.calls[i].cancelled:
            others = sum(
                1
                for j, call in enumerate(backend.calls)
                if j != i and not call.cancelled and sent[j] <= begun < ended[j]
            )
            assert others < backend.max_concurrency
        if backend.requests_per_minute is not None:
            assert sum(begun <= other < begun + MINUTE_NS for other in sent) <= backend.requests_per_minute
