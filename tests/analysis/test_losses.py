"""Where the time went: delays that are put in one place are found there, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import repeat
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apxm.analysis.losses import TERMS, Losses, losses
from apxm.analysis.probes import asks
from apxm.analysis.specified import specified_profile
from apxm.backends.protocol import ModelRequest
from apxm.backends.settings import SimulatedSettings
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.program.expressions import Literal
from apxm.program.nodes import Operate
from apxm.program.program import Program
from apxm.runtime import retries
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.testing import ScriptedBackend, execute_virtually, run_virtually
from tests.analysis.endpoints import QueueBackend, ReportingBackend, profile
from tests.plans import ask, give, merge, plan, program, show
from tests.random_plans import random_program

# One call, a line of output, then two calls at once, of which `slow` decides.
STAGES = program(plan(ask("first"), show(0), ask("slow", 0), ask("quick", 0), merge(2, 3), give(4)))
LATENCIES = {"first": 1000.0, "slow": 1000.0, "quick": 400.0}
CALIBRATED = profile(1000)


def prompt(request: ModelRequest) -> str:
    return request.prompt.split("\n")[0]


def reporting(**changed: float) -> ReportingBackend:
    """Service and latency as above, some of them other."""
    return ReportingBackend(latency_ms=lambda request: {**LATENCIES, **changed}[prompt(request)])


def moved(trace: Trace, before: Trace) -> dict[str, float]:
    """By how many ms each term grew, those that did not left out."""
    now, then = losses(trace, CALIBRATED).terms, losses(before, CALIBRATED).terms
    return {term: now[term] - then[term] for term in TERMS if now[term] != then[term]}


@pytest.fixture
def plain() -> Trace:
    return execute_virtually(STAGES, reporting())


def test_a_run_without_losses_is_all_isolated(plain: Trace) -> None:
    found = losses(plain, CALIBRATED)
    assert found.terms == dict.fromkeys(TERMS, 0.0) | {"isolated": 2000.0}
    assert (found.calibrated, found.transport_included, found.classes_of_one) == (True, False, ())


def test_delay_in_the_client_path_is_transport(plain: Trace) -> None:
    backend = reporting(slow=1050)
    backend.service_ms = lambda request: LATENCIES[prompt(request)]
    assert moved(execute_virtually(STAGES, backend), plain) == {"transport": 50}


def test_delay_in_one_service_is_variation(plain: Trace) -> None:
    assert moved(execute_virtually(STAGES, reporting(slow=1050)), plain) == {"variation": 50}


def test_service_slowed_by_other_calls_is_contention(plain: Trace) -> None:
    # Of two calls at once each takes 5% longer, as the profile knows; `quick` is past caring.
    found = losses(execute_virtually(STAGES, reporting(slow=1050, quick=1050)), profile(1000, 1050)).terms
    assert found == losses(plain, CALIBRATED).terms | {"contention": 50.0}


def test_a_wait_for_a_slot_is_waiting(plain: Trace) -> None:
    # `quick` goes first where both are equally important, since it comes first.
    p = program(plan(ask("first"), show(0), ask("quick", 0), ask("slow", 0), merge(2, 3), give(4)))
    trace = execute_virtually(p, reporting(quick=50), options=RunOptions(max_concurrency=1))
    assert moved(trace, plain) == {"waiting": 50}


def test_one_failed_attempt_is_retries_and_the_pause_after_it_is_waiting(
    plain: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Trace:
        def fails(request: ModelRequest) -> bool:
            return prompt(request) == "slow" and sum(map(str.startswith, backend.prompts, repeat("slow"))) == 1

        backend = reporting()
        backend.service_ms = lambda request: LATENCIES[prompt(request)]
        backend.latency_ms = lambda request: 50 if fails(request) else LATENCIES[prompt(request)]
        backend.script = lambda request: BackendError("connection", "lost", retryable=True) if fails(request) else "ok"
        return execute_virtually(p, backend)

    p = program(plan(ask("first"), show(0), ask("slow", 0, retries=1), ask("quick", 0), merge(2, 3), give(4)))
    monkeypatch.setattr(retries, "FIRST_PAUSE_NS", 1)
    assert moved(run(), plain) == {"retries": 50}
    monkeypatch.setattr(retries, "FIRST_PAUSE_NS", 500_000_000)
    found = moved(run(), plain)
    assert found.pop("waiting") > 10
    assert found == {"retries": 50}


def test_time_spent_in_our_own_code_is_runtime(plain: Trace) -> None:
    def work(_line: str) -> None:
        cast(Any, asyncio.get_running_loop())._now += 50_000_000

    trace = execute_virtually(STAGES, reporting(), options=RunOptions(output=work))
    assert moved(trace, plain) == {"runtime": 50}


def test_without_a_service_time_transport_is_part_of_it_and_the_result_says_so() -> None:
    backend = ScriptedBackend(latency_ms=lambda request: LATENCIES[prompt(request)])
    found = losses(execute_virtually(STAGES, backend), CALIBRATED)
    assert found.transport_included
    assert found.transport == 0


def test_without_a_profile_a_call_is_measured_against_its_class_in_this_run() -> None:
    p = program(plan(*[ask(str(ms)) for ms in (100, 200, 600)], ask("700", model="other"), merge(0, 1, 2, 3)))
    backend = ScriptedBackend(script=lambda _: "ok", latency_ms=lambda request: float(request.prompt))
    found = losses(execute_virtually(p, backend))
    assert (found.isolated, found.contention, found.variation) == (700, 0, 0)
    assert found.classes_of_one == ("ask on scripted, model other, 1 output tokens",)
    alone = program(plan(*[ask(str(ms)) for ms in (100, 200, 600)]))
    found = losses(execute_virtually(alone, backend))
    assert (found.isolated, found.contention, found.variation) == (300, 0, 300)
    assert found.classes_of_one == ()
    assert not found.calibrated


def test_answers_of_other_sizes_are_other_classes() -> None:
    def script(request: ModelRequest) -> str:
        return "word " * (100 if request.prompt == "900" else 2)

    p = program(plan(*[ask(str(ms)) for ms in (100, 300, 900)]))
    backend = ScriptedBackend(script=script, latency_ms=lambda request: float(request.prompt))
    assert losses(execute_virtually(p, backend)).classes_of_one == ("ask on scripted, 64 to 127 output tokens",)


def test_a_profile_says_nothing_about_other_backends_and_models() -> None:
    p = program(plan(ask("100"), ask("200", backend="other"), ask("300", model="other")))
    one = ScriptedBackend(script=lambda _: "ok", latency_ms=lambda request: float(request.prompt))
    two = ScriptedBackend(script=lambda _: "ok", latency_ms=lambda request: float(request.prompt), name="other")
    found = losses(execute_virtually(p, one, two), profile(1000))
    assert not found.calibrated
    assert len(found.classes_of_one) == 2
    assert (found.isolated, found.variation) == (1000, -700)


def test_in_a_queue_a_call_waits_for_those_that_came_before_it() -> None:
    p = program(plan(*[ask(str(i)) for i in range(4)], merge(0, 1, 2, 3), ask("last", 4)))
    backend = QueueBackend(latency_ms=lambda _request: 100)
    found = losses(execute_virtually(p, backend), profile(100, 200, 400, discipline="queue"))
    assert (found.isolated, found.contention, found.variation) == (200, 300, 0)


def test_a_slot_that_another_run_gave_back_is_waited_for() -> None:
    backend = ReportingBackend(latency_ms=lambda _request: 100, max_concurrency=1)
    pool = BackendPool({"scripted": backend}, "scripted")
    p = program(plan(ask("one")))

    async def both() -> list[Trace]:
        runs = [Run(LoadedProgram(p), p.flows[0], (), pool) for _ in range(2)]
        return list(await asyncio.gather(*(run.execute() for run in runs)))

    first, second = run_virtually(both())
    assert losses(first, profile(100)).waiting == 0
    found = losses(second, profile(100))
    assert (found.isolated, found.waiting, found.runtime) == (100, 100, 0)


def test_a_run_that_calls_no_model() -> None:
    assert losses(execute_virtually(program(plan(show("x"))))).terms == dict.fromkeys(TERMS, 0.0)


def test_a_run_that_was_stopped_still_adds_up() -> None:
    trace = execute_virtually(STAGES, reporting(), options=RunOptions(timeout_s=1.5))
    # What was answered is `quick`, after 1400 ms; the call that was cancelled at 1500 ms counts as a failed attempt.
    expected = {"isolated": 2000.0, "variation": -600.0, "retries": 100.0}
    assert losses(trace, CALIBRATED).terms == dict.fromkeys(TERMS, 0.0) | expected


def disturbed(random: Random, p: Program) -> Program:
    """Some operations retry, and some go to another backend."""

    def change(node: Any) -> Any:
        if not isinstance(node, Operate):
            return node
        options: dict[str, Any] = {"retries": Literal(random.randrange(3))}
        if random.random() < 0.3:
            options["backend"] = Literal("other")
        return replace(node, options=options)

    return replace(p, plans=tuple(replace(each, nodes=tuple(map(change, each.nodes))) for each in p.plans))


def check(found: Losses, trace: Trace) -> None:
    assert sum(found.terms.values()) == pytest.approx(trace.duration / 1e6, abs=1e-6)
    assert [term for term, value in found.terms.items() if value < 0 and term != "variation"] == []
    # On virtual time our own code takes no time, so every wait must have been explained.
    assert found.runtime == 0


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_terms_of_any_run_add_up_and_only_variation_is_ever_negative(seed: int) -> None:
    random = Random(seed)
    p = disturbed(random, random_program(random))
    slots, other_slots = random.choice([None, 1, 2, 4]), random.choice([None, 1, 2])

    def backend(name: str, limit: int | None) -> ReportingBackend:
        def script(_request: ModelRequest) -> str | BackendError:
            kind = random.random()
            return "a" if kind < 0.7 else BackendError("http_status", "no", retryable=kind < 0.95)

        service: Callable[[ModelRequest], float] = lambda _request: random.randrange(1, 1000)  # noqa: E731
        latency: Callable[[ModelRequest], float] = lambda _request: random.randrange(1, 2000)  # noqa: E731
        return ReportingBackend(script, latency, name, limit, service_ms=service)

    both = backend("scripted", random.choice([None, 3])), backend("other", other_slots)
    trace = execute_virtually(p, *both, options=RunOptions(max_concurrency=slots, seed=seed))
    check(losses(trace), trace)
    check(losses(trace, profile(500, 700, 1300, 2900)), trace)
    check(losses(trace, profile(300, 600, 1200, discipline="queue")), trace)


def test_an_engine_says_what_each_call_takes_alone_and_what_the_others_added() -> None:
    """Two prompts are read in 12 + 2 · 40 · 0.2 ms, and nine times both get a token; then the longer one goes on."""
    latency = "tokens:fixed=5,step=12,prefill=0.2,decode=0.5,answer=900"
    known = specified_profile("simulated", SimulatedSettings(latency=latency))
    program = asks(["a" * 160, "b" * 160], [10, 30])
    pool = BackendPool({"simulated": SimulatedBackend(latency=latency)}, "simulated")
    trace = run_virtually(Run(LoadedProgram(program), program.flows[0], (), pool, RunOptions()).execute())
    found = losses(trace, known)
    assert found.isolated == pytest.approx(5 + 12 + 8 + 29 * 12.5)
    assert found.contention == pytest.approx(8 + 9 * 0.5)
    assert (found.variation, found.transport, found.runtime) == (pytest.approx(0, abs=1e-3), 0, 0)
    assert found.calibrated
    assert found.transport_included
