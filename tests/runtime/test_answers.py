"""What a run believes of an answer, whoever wrote the backend, and what it says of one that a limit cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from math import inf, nan
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from apxm.analysis.calibrate import calibrate
from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import BackendInfo, Clock, Handle, ModelAnswer, ModelRequest, Price, Usage
from apxm.backends.settings import OpenAISettings
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import Answered, header_of
from apxm.program.program import Program
from apxm.reports.calibration import calibration_text
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop, run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, execute_virtually
from tests.plans import ask, give, merge, plan, program
from tests.servers import Server, as_json

RUN = "20260131-235959-k3vd"
CHAIN = program(plan(ask("a", max_tokens=100), ask(0, max_tokens=100), give(1)))


class Twelve(IntEnum):
    TWELVE = 12


class Index:
    def __index__(self) -> int:
        return 12


def name_of(count: object) -> str:
    return f"{count.bit_length()} bits" if isinstance(count, int) else repr(count)


PLAUSIBLE = [12, 12.0, Twelve.TWELVE, Index()]
IMPLAUSIBLE = [
    2**63,
    2**64 - 1,
    2**64,
    10**30,
    10**320,
    10**5000,
    1e308,
    inf,
    nan,
    -inf,
    -1,
    12.5,
    True,
    "12",
    b"1",
    [12],
]


@dataclass(eq=False)
class Claiming(ScriptedBackend):
    """Says whatever it likes of its answers."""

    claims: dict[str, Any] = field(default_factory=dict[str, Any])

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        return super().begin(request, clock, lambda outcome: done(replace(cast(ModelAnswer, outcome), **self.claims)))


def claiming(count: Any, **settings: Any) -> Claiming:
    usage = Usage(cast(int, count), cast(int, count))
    return Claiming(latency_ms=lambda _: 1, claims={"usage": usage, "service_ns": count}, **settings)


def journaled(folder: Path, backend: ScriptedBackend, options: RunOptions, *, resume: bool = False) -> Trace:
    history = None
    if resume:
        journal, history = Journal.reopen(folder, RUN)
    else:
        header = header_of(
            CHAIN, apxm="0", run_id=RUN, started=0, path="p.ais", kind="source", flow="A.main", inputs=(), options={}
        )
        journal = Journal.create(folder, header)
    run = Run(LoadedProgram(CHAIN), CHAIN.flows[0], (), BackendPool({"scripted": backend}, "scripted"), options)
    try:
        with asyncio.Runner(loop_factory=real_loop) as runner:
            return runner.run(asyncio.wait_for(run.execute(Recorder(journal, "0", history, required=True)), 60))
    finally:
        journal.close()


@pytest.mark.parametrize("count", PLAUSIBLE)
def test_a_whole_number_counts_whatever_its_type(count: Any) -> None:
    trace = execute_virtually(CHAIN, claiming(count), options=RunOptions(max_total_tokens=1000))
    assert trace.budget is not None
    assert (trace.status, trace.budget.spent.tokens, trace.budget.charged.tokens) == (Status.SUCCEEDED, 48, 0)
    (attempt,) = trace.operations[0].attempts
    numbers = attempt.service_ns, attempt.usage.input_tokens, attempt.usage.output_tokens
    assert [type(number) for number in numbers] == [int, int, int]


@pytest.mark.parametrize("count", IMPLAUSIBLE, ids=name_of)
def test_of_what_cannot_be_the_endpoint_says_nothing(count: Any) -> None:
    """So its worst case is charged, as of any endpoint that does not count."""
    backend = claiming(count, prices={"scripted": Price(1, 1)})
    trace = execute_virtually(CHAIN, backend, options=RunOptions(max_total_tokens=1000, max_cost=1))
    assert trace.budget is not None
    assert trace.status is Status.SUCCEEDED
    assert trace.budget.spent == trace.budget.charged != 0
    attempts = [attempt for record in trace.operations for attempt in record.attempts]
    assert {(attempt.service_ns, attempt.usage) for attempt in attempts} == {(None, Usage())}
    metrics = measure(trace, LinkPhases(), BackendInfo("scripted", "scripted", "scripted", simulated=True))
    assert metrics.llm.total_output_tokens is None


@pytest.mark.parametrize("count", [2**64, 2**64 - 1, 10**320], ids=name_of)
def test_the_journal_goes_on_and_the_budget_is_not_forgotten(count: int, tmp_path: Path) -> None:
    options = RunOptions(max_total_tokens=200)  # one call, at up to 133 tokens
    trace = journaled(tmp_path, claiming(count), options)
    assert trace.status is Status.STOPPED
    history = read(tmp_path, RUN)
    assert [row.row.output_tokens for row in history.records if isinstance(row.row, Answered)] == [None]
    assert history.ended is not None
    again = claiming(5)
    assert journaled(tmp_path, again, options, resume=True).status is Status.STOPPED
    assert not again.calls


@pytest.mark.parametrize("count", [2**64 - 1, 10**320], ids=name_of)
def test_a_calibration_says_what_it_could_not_read(count: int) -> None:
    profile = run_virtually(
        calibrate(claiming(count), date="2025-01-01T00:00:00+00:00", concurrencies=[1, 2], calls=4)
    ).profile
    assert (profile.output_tokens, profile.service_reported) == (None, False)
    text = calibration_text(profile)
    assert "does not report its service time" in text
    assert "does not say how many tokens" in text


def test_a_quota_that_is_used_up_is_asked_for_once_per_call() -> None:
    calls = 20
    p = program(plan(*[ask(f"Task {i}") for i in range(calls)], merge(*range(calls)), give(calls)))
    error = {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}

    async def run() -> tuple[Trace, int]:
        async with Server(as_json({"error": error}, 429, retry_after="30")) as server, asyncio.timeout(20):
            settings = OpenAISettings(model="m", endpoint=server.endpoint, max_concurrency=2)
            pool = BackendPool({"local": OpenAIBackend("local", settings, {})}, "local")
            trace = await Run(LoadedProgram(p), p.flows[0], (), pool).execute()
            return trace, len(server.received)

    with asyncio.Runner(loop_factory=real_loop) as runner:
        trace, requests = runner.run(run())
    assert (trace.status, trace.failed, requests) == (Status.FAILED, calls, calls)


# --- answers that a limit cut off ----------------------------------------------------------------------------------


def warnings_of(p: Program, backend: ScriptedBackend | SimulatedBackend, **options: Any) -> list[str]:
    said: list[str] = []
    run = Run(
        LoadedProgram(p), p.flows[0], (), BackendPool({backend.info.name: backend}, backend.info.name),
        RunOptions(warn=said.append, **options),
    )  # fmt: skip
    assert run_virtually(run.execute()).status is Status.SUCCEEDED
    return said


def test_an_answer_that_a_limit_ended_is_told_once_per_operation() -> None:
    p = program(plan(ask("a", max_tokens=7), ask("b"), merge(0, 1), give(2)))
    backend = Claiming(claims={"cut_off": True})
    cut_off = "the answer was cut off by a limit of tokens"
    assert warnings_of(p, backend) == [
        f"n0: {cut_off} (max_tokens: 7); a larger one gives more",
        f"n1: {cut_off} (the endpoint's own, as there is no max_tokens); a larger one gives more",
    ]
    backend.max_tokens = 5000
    assert warnings_of(p, backend)[1].startswith(f"n1: {cut_off} (max_tokens: 5,000)")
    assert warnings_of(p, backend, max_total_tokens=20_000)[1].startswith(f"n1: {cut_off} (max_tokens: 5,000)")


def test_a_simulated_answer_says_so_too() -> None:
    backend = SimulatedBackend()
    assert warnings_of(program(plan(ask("a", max_tokens=2), give(0))), backend)
    assert not warnings_of(program(plan(ask("a", max_tokens=200), give(0))), backend)
