"""What a run may cost."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.backends.protocol import ModelRequest, Price
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError, UsageError
from apxm.program.program import Program
from apxm.runtime.budget import DEFAULT_MAX_TOKENS, Budget, Cost, Verdict
from apxm.runtime.options import RunOptions
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, execute_virtually
from tests.plans import ask, give, merge, plan, program

AROUND = 32
"""Tokens that a request may cost besides its text."""


def fan_out(count: int, **options: int) -> Program:
    return program(plan(*[ask(f"Task {i}", **options) for i in range(count)], merge(*range(count)), give(count)))


def spent(trace: Trace) -> int:
    assert trace.budget is not None
    assert trace.budget.reserved == Cost()
    return trace.budget.spent.tokens


def test_a_call_that_fits_what_is_spent_waits_for_what_is_reserved() -> None:
    # Each may cost 6 + 32 + 100 = 138 and costs 2 + 2: the second waits until the first has turned out cheap.
    backend = ScriptedBackend()
    trace = execute_virtually(fan_out(4, max_tokens=100), backend, options=RunOptions(max_total_tokens=150))
    assert trace.status is Status.SUCCEEDED
    assert [call.sent_ms for call in backend.calls] == [0, 1000, 2000, 3000]
    assert spent(trace) == 16


def test_the_run_stops_only_when_a_call_does_not_fit_what_is_spent() -> None:
    backend = ScriptedBackend(script=lambda _: " ".join(["word"] * 90))
    trace = execute_virtually(fan_out(4, max_tokens=100), backend, options=RunOptions(max_total_tokens=300))
    assert trace.status is Status.STOPPED
    assert len(backend.calls) == 2
    assert not any(call.cancelled for call in backend.calls)
    assert spent(trace) == 2 * 92
    assert [attempt.outcome for record in trace.operations for attempt in record.attempts] == ["ok", "ok"]


def test_a_call_that_never_fits_does_not_keep_smaller_ones_from_running() -> None:
    p = program(plan(ask("big", max_tokens=1000), ask("small", max_tokens=10), ask("small too", max_tokens=10)))
    backend = ScriptedBackend()
    trace = execute_virtually(p, backend, options=RunOptions(max_total_tokens=200))
    assert trace.status is Status.STOPPED
    assert sorted(backend.prompts) == ["small", "small too"]


def test_an_answer_without_a_limit_gets_one() -> None:
    backend = ScriptedBackend()
    execute_virtually(fan_out(1), backend, options=RunOptions(max_total_tokens=10_000))
    assert backend.calls[0].request.max_tokens == DEFAULT_MAX_TOKENS
    backend = ScriptedBackend(max_tokens=77)
    execute_virtually(fan_out(1), backend, options=RunOptions(max_total_tokens=10_000))
    assert backend.calls[0].request.max_tokens == 77
    execute_virtually(fan_out(1), backend)
    assert backend.calls[1].request.max_tokens is None, "without a budget nothing is added"


@pytest.mark.parametrize(
    ("kind", "charged"), [("timeout", True), ("connection", True), ("http_status", False), ("unreachable", False)]
)
def test_an_attempt_whose_outcome_nobody_knows_is_charged_what_was_reserved(kind: str, charged: bool) -> None:
    backend = ScriptedBackend(script=lambda _: BackendError(kind, "no", retryable=False))
    trace = execute_virtually(fan_out(1, max_tokens=100), backend, options=RunOptions(max_total_tokens=500))
    assert trace.budget is not None
    assert spent(trace) == trace.budget.charged.tokens == (6 + AROUND + 100 if charged else 0)


def test_what_is_in_flight_when_the_run_ends_is_charged() -> None:
    trace = execute_virtually(
        fan_out(2, max_tokens=100), ScriptedBackend(), options=RunOptions(max_total_tokens=500, timeout_s=0.5)
    )
    assert spent(trace) == 2 * (6 + AROUND + 100)


def test_an_endpoint_that_does_not_honour_its_limit_is_found_out() -> None:
    backend = ScriptedBackend(script=lambda _: "word " * 500)
    trace = execute_virtually(fan_out(1, max_tokens=100), backend, options=RunOptions(max_total_tokens=200))
    assert trace.budget is not None
    assert spent(trace) == 502
    assert trace.budget.above.tokens == 502 - 138


def test_money() -> None:
    prices = {"scripted": Price(input=1.0, output=2.0)}
    # The worst case of a call is (38 · 1 + 100 · 2) / 10⁶; it costs (2 · 1 + 2 · 2) / 10⁶.
    backend = ScriptedBackend(prices=prices)
    trace = execute_virtually(fan_out(3, max_tokens=100), backend, options=RunOptions(max_cost=0.000250))
    assert trace.status is Status.SUCCEEDED
    assert trace.budget is not None
    assert trace.budget.spent.money == 3 * 6_000_000
    assert execute_virtually(
        fan_out(1, max_tokens=100), backend, options=RunOptions(max_cost=0.000237)
    ).status is Status.STOPPED  # fmt: skip


def test_an_unknown_price_is_not_zero() -> None:
    prices = {"scripted": Price(input=1.0, output=2.0)}
    p = program(plan(ask("x"), ask("y", model="large")))
    with pytest.raises(UsageError, match="price of 'large' at backend 'scripted' is not known") as raised:
        execute_virtually(p, ScriptedBackend(prices=prices), options=RunOptions(max_cost=1.0))
    assert raised.value.hint == 'set [backends.scripted.prices."large"] with input and output, per million tokens'


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 20_000))
def test_a_run_never_costs_more_than_its_limit(seed: int, limit: int) -> None:
    """Whatever fails, in whatever way, as long as answers keep to their limits."""
    random = Random(seed)
    counted = 0

    def script(request: ModelRequest) -> str | BackendError:
        nonlocal counted
        kind = random.random()
        assert request.max_tokens is not None
        answer = " ".join(["w"] * random.randrange(1, request.max_tokens + 1))
        if kind < 0.1:
            return BackendError("http_status", "no", retryable=True)
        counted += len(request.prompt.split()) + len(answer.split())
        if kind < 0.3:
            return BackendError("connection", "lost, and paid for", retryable=random.random() < 0.8)
        return answer

    backend = ScriptedBackend(script, lambda _: random.randrange(1, 2000), retries=3)
    options = RunOptions(max_total_tokens=limit, max_concurrency=random.choice([None, 1, 4, 64]), seed=seed)
    trace = execute_virtually(fan_out(40, max_tokens=random.randrange(1, 400)), backend, options=options)
    assert counted <= spent(trace) <= limit


def test_what_the_backend_adds_to_a_request_is_reserved_too() -> None:
    options = RunOptions(max_total_tokens=6 + AROUND + 100 + 10)
    p = fan_out(1, max_tokens=100)
    assert execute_virtually(p, ScriptedBackend(own_input=10), options=options).status is Status.SUCCEEDED
    assert execute_virtually(p, ScriptedBackend(own_input=11), options=options).status is Status.STOPPED
    settings = OpenAISettings(model="m", endpoint="http://h", system="Bée brief.", body={"top_p": 1})
    assert settings.limits.own_input == 11 + len('{"top_p":1}')


def test_verdicts() -> None:
    budget = Budget(100)
    worst = Cost(60)
    assert budget.judge(worst) is Verdict.FITS
    budget.reserve(worst)
    assert budget.judge(worst) is Verdict.LATER
    budget.settle(worst, Cost(41))
    assert budget.judge(worst) is Verdict.NEVER
