"""Why a run ended before its end: which limit, how much of it was used, and what was pending."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

import apxm
from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.backends.protocol import BackendInfo, Limits, ModelAnswer, ModelRequest, Price, Usage
from apxm.errors import BackendError
from apxm.runtime.limits import BackendPool
from apxm.runtime.options import RunOptions
from apxm.runtime.stopped import Stopped
from apxm.runtime.trace import Status
from apxm.testing import ScriptedBackend, execute_virtually
from tests.journal.journals import refuse
from tests.plans import ask, give, merge, plan, program

CHAIN = program(plan(ask("a", max_tokens=50), ask(0, max_tokens=50), give(1)))


def wide(count: int) -> Any:
    return program(plan(*[ask(f"{i}") for i in range(count)], merge(*range(count)), give(count)))


def test_a_time_limit_says_how_long_and_what_was_pending() -> None:
    trace = execute_virtually(wide(20), options=RunOptions(timeout_s=0.5, max_concurrency=3))
    pending = tuple(f"n{i}" for i in range(10))
    assert trace.stopped == Stopped("timeout", 0.5, 0.5, None, pending, 20)
    assert trace.stopped.message == (
        "the time limit of 0.5 s was reached after 0.5 s; pending: n0, n1, n2 (and 17 more)"
    )


def test_pending_is_what_is_not_over_wherever_it_waits() -> None:
    def script(request: ModelRequest) -> str | BackendError:
        return BackendError("connection", "lost", retryable=True) if request.prompt == "again" else "ok"

    latency = {"quick": 100, "again": 1000, "long": 60_000, "queued": 1}
    backend = ScriptedBackend(script, lambda request: latency[request.prompt], retries=9)
    p = program(plan(ask("quick"), ask("again"), ask("long"), ask("queued")))
    trace = execute_virtually(p, backend, options=RunOptions(timeout_s=0.9, max_concurrency=2))
    assert trace.stopped is not None
    assert trace.stopped.pending_count == len(trace.stopped.pending) == 3
    assert "n0" not in trace.stopped.pending


def test_a_budget_of_tokens_says_what_it_does_not_cover() -> None:
    trace = execute_virtually(CHAIN, ScriptedBackend(own_input=20), options=RunOptions(max_total_tokens=104))
    assert trace.stopped == Stopped("tokens", 104, 2, 105, ("n1",), 1)
    assert trace.stopped.message == "the budget does not cover n1, which may cost 105 tokens: 2 of 104 tokens used"


def test_a_budget_of_money_counts_in_money() -> None:
    backend = ScriptedBackend(prices={"scripted": Price(input=1e6, output=1e6)})
    trace = execute_virtually(CHAIN, backend, options=RunOptions(max_cost=84.5, max_total_tokens=10**9))
    assert trace.stopped == Stopped("cost", 84.5, 2, 85, ("n1",), 1)
    assert trace.stopped.message == "the budget does not cover n1, which may cost 85: 2 of 84.5 spent"


def test_a_run_that_comes_to_its_end_was_not_stopped() -> None:
    assert execute_virtually(CHAIN).stopped is None
    failing = ScriptedBackend(lambda _: BackendError("http_status", "no", retryable=False))
    assert execute_virtually(CHAIN, failing, options=RunOptions(on_error="cancel")).stopped is None


class Endless:
    limits = Limits()
    can_reason = False
    info = BackendInfo("b", "mine", "m")

    def begin(self, *_: object) -> None: ...

    async def close(self) -> None: ...


def test_the_exception_and_the_numbers_say_so_too() -> None:
    with pytest.raises(
        apxm.RunFailed, match=r"the run ended as stopped: the time limit of 0.01 s was reached"
    ) as failed:
        apxm.run(wide(2), backends=BackendPool({"b": Endless()}, "b"), timeout_s=0.01, journal=False)  # type: ignore[dict-item]
    stopped = failed.value.stopped
    assert isinstance(stopped, apxm.Stopped)
    assert (stopped.kind, stopped.limit, stopped.pending) == ("timeout", 0.01, ("n0", "n1"))
    assert failed.value.result.stopped is stopped
    metrics = measure(failed.value.result.trace, LinkPhases(), BackendInfo("b", "mine", "m", False))
    assert metrics.execution.stopped == stopped


def test_failures_and_a_limit_are_both_told() -> None:
    class Half(Endless):
        def begin(self, request: ModelRequest, _clock: object, done: Any) -> None:
            if request.prompt == "0":
                done(BackendError("http_status", "no", retryable=False))

    with pytest.raises(apxm.RunFailed, match=r"n0 failed .*; the time limit of 0\.05 s") as failed:
        apxm.run(wide(2), backends=BackendPool({"b": Half()}, "b"), timeout_s=0.05, journal=False)  # type: ignore[dict-item]
    assert failed.value.stopped is not None
    assert failed.value.stopped.pending == ("n1",)


class Answering:
    limits = Limits()
    can_reason = False
    info = BackendInfo("b", "mine", "m")

    async def call(self, request: ModelRequest) -> ModelAnswer:
        return ModelAnswer(request.prompt, Usage(1, 1))

    async def close(self) -> None: ...


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_a_required_journal_that_is_lost_stops_the_run_also_with_its_last_row(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    commits = count(1)
    refuse(monkeypatch, lambda _: next(commits) >= writes)
    pool = BackendPool({"b": Answering()}, "b")
    with pytest.raises(apxm.RunFailed, match=r"without its journal: .*No space left on device") as failed:
        apxm.run(CHAIN, backends=pool, journal=True, journal_dir=tmp_path, require_journal=True)
    result = failed.value.result
    assert result.status is Status.STOPPED
    assert result.stopped is not None
    assert result.stopped.kind == "journal"
    assert result.value == ("a" if writes == 3 else None), "it was paid for"
