"""Calibrations by tokens, on virtual time: what an engine costs is found, and what is not known is said."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from apxm.analysis.calibrate import CalibrationFailed
from apxm.analysis.calibrate_engine import calibrate_engine, least_effort, most_effort
from apxm.analysis.engine_fit import EngineFit, Observed, fitted, relative_error
from apxm.analysis.profile import Profile
from apxm.backends.engine import Tokens
from apxm.backends.protocol import AnyBackend, Limits, ModelRequest
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError, UsageError
from apxm.runtime.loops import run_virtually
from apxm.testing import ScriptedBackend

COSTS = (5.0, 12.0, 0.2, 0.5)


def calibrated(backend: AnyBackend, **options: Any) -> Profile:
    making: Coroutine[Any, Any, Profile] = calibrate_engine(backend, date="2026-01-01", **options)
    return run_virtually(making)


def engine(latency: str = "", *, seed: int = 1, **options: Any) -> EngineFit:
    """What is found of an engine with `COSTS`, and whatever else is said."""
    text = f"tokens:fixed=5,step=12,prefill=0.2,decode=0.5,answer=500{latency}"
    found = calibrated(SimulatedBackend(latency=text, seed=seed), **options).engine
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("options", "slots", "chunk", "cache"),
    [
        ("", None, None, False),
        (",slots=4", 4, None, False),
        (",slots=8,chunk=512", 8, 512, False),
        (",slots=8,chunk=256,cache", 8, 256, True),
    ],
)
def test_an_engine_that_does_not_vary_is_found_exactly(
    options: str, slots: int | None, chunk: int | None, cache: bool
) -> None:
    found = engine(options)
    assert (found.slots, found.chunk, found.cache) == (slots, chunk, cache)
    assert found.times == pytest.approx(COSTS, rel=1e-4)
    assert (found.spread, found.drift, found.covariance) == (0, 0, ())
    assert found.characters_per_token == pytest.approx(4, rel=0.001)


@pytest.mark.parametrize("seed", range(4))
def test_an_engine_that_answers_one_call_after_the_other_is_seen_to(seed: int) -> None:
    """What a step is and what a token, nobody can tell there; together they are known."""
    found = engine(",slots=1,spread=0.1", seed=seed)
    assert found.slots == 1
    assert found.step_ms + found.decode_ms == pytest.approx(12.5, rel=0.04)
    assert found.prefill_ms == pytest.approx(0.2, rel=0.06)
    assert not any(word in text for text in found.unknown for word in ("slots", "step", "decode"))


def test_the_first_token_tells_what_a_prompt_takes_from_what_an_answer_takes() -> None:
    """All calls are of one kind, which alone would say nothing of either."""
    first = 5 + 12 + 100 * 0.2
    call = Observed(0.0, Tokens(100, 50), first + 49 * 12.5, first)
    found = fitted([[call]] * 4, cache_known=False, most_at_once=1)
    assert found.alone_ms(Tokens(100, 99)) == pytest.approx(first + 98 * 12.5, rel=0.001)


def test_a_calibration_that_streams_takes_the_engine_for_the_same() -> None:
    assert engine(",slots=4", streams=True).times == pytest.approx(COSTS, rel=1e-4)


def test_costs_that_vary_are_known_with_their_errors() -> None:
    found = engine(",slots=4,spread=0.2")
    assert found.slots == 4
    for time, true, error in zip(found.times, COSTS, found.errors, strict=True):
        assert 0 < error < 0.4 * true + 0.5
        assert abs(time - true) < 3.5 * error
    assert found.spread == pytest.approx(0.2, rel=0.4)


def test_a_calibration_ends_as_soon_as_what_is_asked_for_is_known_well_enough() -> None:
    made: list[Profile] = []

    def error(profile: Profile) -> float:
        made.append(profile)
        return 0.5 if len(made) < 4 else 0.01

    backend = SimulatedBackend(latency="tokens:step=10,answer=99,spread=0.2")
    found = calibrated(backend, concurrencies=[1, 2], calls=10_000, error=error)
    assert len(made) == 4
    assert sum(level.calls for level in found.levels) == 4 * least_effort([1, 2]).calls


def test_no_more_calls_are_made_than_were_announced() -> None:
    backend = ScriptedBackend(latency_ms=lambda request: 10.0 + len(request.prompt) % 7)
    calibrated(backend, concurrencies=[1, 2, 4], calls=100, precision=0.0)
    warm_up = 4
    assert len(backend.calls) <= most_effort([1, 2, 4], 100).calls + warm_up <= 100 + warm_up


def test_calls_that_fail_are_counted_and_left_out() -> None:
    def fails(request: ModelRequest) -> bool:
        return len(request.prompt) % 5 == 1

    def answer(request: ModelRequest) -> str | BackendError:
        return BackendError("overloaded", "no", retryable=True) if fails(request) else "word " * 8

    backend = ScriptedBackend(answer, latency_ms=lambda request: 20.0 + 0.1 * len(request.prompt))
    found = calibrated(backend, concurrencies=[1, 2, 4], calls=30)
    assert found.failed_calls == sum(fails(call.request) for call in backend.calls) > 0
    assert found.engine is not None
    assert found.failed_calls + sum(level.calls for level in found.levels) + 4 >= len(backend.calls)


def test_where_most_calls_fail_there_is_no_profile() -> None:
    backend = ScriptedBackend(lambda _request: BackendError("overloaded", "no", retryable=True))
    with pytest.raises(CalibrationFailed, match="overloaded: no"):
        calibrated(backend)


def test_what_could_not_be_learned_is_said() -> None:
    told = " ".join(engine(concurrencies=[1, 2]).unknown)
    assert "slots it has: 2 calls at once met no queue" in told
    assert "keeps prefixes" in told


def test_a_backend_that_may_not_have_so_many_calls_is_not_asked() -> None:
    with pytest.raises(UsageError, match="may have 4 calls in flight, not 16"):
        calibrated(SimulatedBackend(limits=Limits(max_concurrency=4)))


def test_the_error_of_a_prediction_is_that_of_the_costs_it_hangs_on() -> None:
    known = EngineFit(
        fixed_ms=10, step_ms=5, prefill_ms=1, decode_ms=2, covariance=((4, 0, 0, 0), (0, 1, 0, 0), (0,) * 4, (0,) * 4)
    )
    assert relative_error(known, lambda e: e.fixed_ms) == pytest.approx(0.2)
    assert relative_error(known, lambda e: e.fixed_ms + 2 * e.step_ms) == pytest.approx((4 + 4) ** 0.5 / 20)
    assert relative_error(known, lambda e: e.prefill_ms) == 0
