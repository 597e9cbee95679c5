"""Whose end gave an attempt its slot: the trace says so."""

from __future__ import annotations

import pytest

from apxm.backends.protocol import ModelRequest
from apxm.errors import BackendError
from apxm.runtime import retries
from apxm.runtime.options import RunOptions
from apxm.runtime.trace import Place, Trace
from apxm.testing import ScriptedBackend, execute_virtually
from tests.plans import ask, plan, program


def slots(trace: Trace) -> dict[Place, Place | None]:
    return {(r.frame, r.node, i): a.slot_from for r in trace.operations for i, a in enumerate(r.attempts)}


def test_without_limits_nobody_gets_a_slot_from_anybody() -> None:
    trace = execute_virtually(program(plan(ask("a"), ask("b", 0))))
    assert set(slots(trace).values()) == {None}


def test_under_a_limit_each_slot_goes_from_an_attempt_that_ended_to_one_that_waited() -> None:
    p = program(plan(*[ask(str(ms)) for ms in (300, 100, 500, 700)]))
    backend = ScriptedBackend(latency_ms=lambda request: float(request.prompt))
    trace = execute_virtually(p, backend, options=RunOptions(max_concurrency=2))
    assert slots(trace) == {(0, 0, 0): None, (0, 1, 0): None, (0, 2, 0): (0, 1, 0), (0, 3, 0): (0, 0, 0)}


def test_a_limit_of_the_backend_hands_over_too() -> None:
    trace = execute_virtually(program(plan(ask("a"), ask("b"))), ScriptedBackend(max_concurrency=1))
    assert slots(trace) == {(0, 0, 0): None, (0, 1, 0): (0, 0, 0)}


def test_two_operations_can_give_each_other_their_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(request: ModelRequest) -> str | BackendError:
        first = request.prompt == "a" and backend.prompts.count("a") == 1
        return BackendError("connection", "lost", retryable=True) if first else "ok"

    monkeypatch.setattr(retries, "FIRST_PAUSE_NS", 1)  # over before the other one ends
    backend = ScriptedBackend(script=script)
    p = program(plan(ask("a", retries=1), ask("b")))
    trace = execute_virtually(p, backend, options=RunOptions(max_concurrency=1))
    assert slots(trace) == {(0, 0, 0): None, (0, 1, 0): (0, 0, 0), (0, 0, 1): (0, 1, 0)}


def test_an_attempt_asks_for_its_slot_when_its_pause_is_over() -> None:
    def script(request: ModelRequest) -> str | BackendError:
        first = request.prompt == "a" and backend.prompts.count("a") == 1
        return BackendError("connection", "lost", retryable=True) if first else "ok"

    backend = ScriptedBackend(script=script)
    p = program(plan(ask("a", retries=1), ask("b")))
    trace = execute_virtually(p, backend, options=RunOptions(max_concurrency=1))
    first, second = next(record.attempts for record in trace.operations if record.node == 0)
    assert first.asked == 0
    assert first.received < second.asked < second.granted == 2_000_000_000


def test_a_run_that_ends_during_a_pause_keeps_the_attempt_before_it() -> None:
    backend = ScriptedBackend(script=lambda _request: BackendError("connection", "lost", retryable=True))
    trace = execute_virtually(
        program(plan(ask("a", retries=1))), backend, options=RunOptions(timeout_s=1.0000001, seed=1)
    )
    assert [a.outcome for record in trace.operations for a in record.attempts] == ["connection"]
