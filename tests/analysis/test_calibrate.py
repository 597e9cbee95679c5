"""Calibration of endpoints that are known exactly, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from statistics import fmean
from typing import Any

import pytest

from apxm.analysis.calibrate import Calibration, CalibrationFailed, calibrate, most_calls
from apxm.analysis.profile import Profile, decode_profile, encode_profile
from apxm.backends.protocol import AnyBackend, BackendInfo, Limits, ModelAnswer, ModelRequest, Usage
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError, UsageError
from apxm.runtime.loops import run_virtually
from apxm.testing import ScriptedBackend
from tests.analysis.endpoints import QueueBackend, ReportingBackend

DATE = "2025-01-01T00:00:00+00:00"


def calibrated(backend: AnyBackend, **options: Any) -> Profile:
    return calibration(backend, **options).profile


def calibration(backend: AnyBackend, **options: Any) -> Calibration:
    making: Coroutine[Any, Any, Calibration] = calibrate(backend, date=DATE, **options)
    return run_virtually(making)


def test_a_slowed_down_endpoint_is_found_exactly() -> None:
    found = calibrated(SimulatedBackend(latency="constant:100", slowdown="usl:0.05,0.002"), concurrencies=[1, 2, 4, 8])
    services = {1: 100.0, 2: 105.4, 4: 117.4, 8: 146.2}
    assert {p.concurrency: p.service_ms for p in found.points} == pytest.approx(services, abs=1e-5)
    assert found.ratios == (1.0,)
    assert found.discipline == "sharing"
    assert found.burst_ms == pytest.approx([146.2] * 8, abs=1e-5)
    assert (found.scalability.alpha, found.scalability.beta) == (pytest.approx(0.05), pytest.approx(0.002))
    assert (found.backend, found.model, found.date, found.simulated) == ("simulated", "simulated", DATE, True)
    assert found.service_reported
    assert found.client_ms == 0  # virtual time


def test_a_steady_endpoint_is_asked_no_more_than_it_takes() -> None:
    backend = ScriptedBackend()
    calibrated(backend, concurrencies=[1, 2])
    assert len(backend.calls) == 2 + 4 + 8 + 2 * 2  # warm-up, four rounds at each level, two bursts
    assert len(set(backend.prompts)) == len(backend.calls)


@pytest.mark.parametrize("growth", [1, 4])
@pytest.mark.parametrize("concurrencies", [[1], [1, 2, 4], [3, 7]])
def test_no_more_calls_are_made_than_were_announced(concurrencies: list[int], growth: int) -> None:
    backend = ScriptedBackend(latency_ms=lambda _request: 100.0 * (1 + len(backend.calls) % 7))
    calibrated(backend, concurrencies=concurrencies, calls=20, growth=growth, precision=0.0)
    assert len(backend.calls) <= most_calls(concurrencies, 20, growth) < 2 * len(backend.calls)


def test_more_calls_count_where_more_are_answered_in_the_same_time() -> None:
    backend = SimulatedBackend(latency="lognormal:100,0.4")
    found = calibrated(backend, concurrencies=[1, 2, 4, 8], calls=20, growth=4)
    assert {level.concurrency: level.calls for level in found.levels} == {1: 20, 2: 40, 4: 80, 8: 80}


def test_the_first_calls_of_a_batch_are_those_that_were_sent_first() -> None:
    # Four calls warm it up and four are alone; of the sixteen in a closed loop the first three do not count.
    slow = ("call 8:", "call 9:", "call 10:")
    backend = ScriptedBackend(latency_ms=lambda request: 500.0 if any(s in request.prompt for s in slow) else 100.0)
    assert [level.service_ms for level in calibrated(backend, concurrencies=[4]).levels] == [100, 100]


def test_the_distribution_is_that_of_single_calls() -> None:
    found = calibrated(SimulatedBackend(latency="lognormal:100,0.4", seed=3), concurrencies=[1, 4], calls=2000)
    assert found.isolated_ms == pytest.approx(108.3, rel=0.03)  # 100 · exp(0.4²/2)
    assert len(found.ratios) == 256
    assert fmean(found.ratios) == pytest.approx(1)
    assert found.ratios[128] == pytest.approx(0.923, rel=0.03)  # the median over the mean
    assert found.ratios[-1] > 2


def test_the_points_never_fall() -> None:
    found = calibrated(SimulatedBackend(latency="lognormal:100,0.4"), concurrencies=[1, 2, 4, 8, 16])
    measured = [level.service_ms for level in found.levels]
    assert measured != sorted(measured)
    points = [point.service_ms for point in found.points]
    assert points == sorted(points)
    # Pooling moves nothing on the whole.
    weights = [level.calls for level in found.levels]
    assert sum(p * w for p, w in zip(points, weights, strict=True)) == pytest.approx(
        sum(m * w for m, w in zip(measured, weights, strict=True))
    )


@pytest.mark.parametrize("latency", ["constant:100", "lognormal:100,0.4"])
@pytest.mark.parametrize("slowdown", ["usl:1,0", "usl:0.3,0"])
def test_calls_that_share_a_processor_are_seen_to(latency: str, slowdown: str) -> None:
    assert calibrated(SimulatedBackend(latency=latency, slowdown=slowdown), calls=400).discipline == "sharing"


def test_calls_that_stand_in_a_queue_are_seen_to() -> None:
    found = calibrated(QueueBackend(latency_ms=lambda _request: 100), concurrencies=[1, 2, 4, 8])
    assert found.discipline == "queue"
    # The same closed loop as a shared processor has.
    assert [point.service_ms for point in found.points] == [100, 200, 400, 800]
    assert found.burst_ms == (100, 200, 300, 400, 500, 600, 700, 800)


def test_in_a_queue_the_distribution_is_that_of_calls_that_were_alone() -> None:
    backend = QueueBackend(latency_ms=lambda _request: 50.0 if len(backend.calls) % 2 else 150.0)
    found = calibrated(backend, concurrencies=[1, 8])
    assert found.discipline == "queue"
    assert {round(ratio, 2) for ratio in found.ratios} == {0.5, 1.5}


def test_transport_is_no_part_of_the_service_where_the_endpoint_reports_it() -> None:
    backend = ReportingBackend(latency_ms=lambda _request: 130, service_ms=lambda _request: 100)
    found = calibrated(backend, concurrencies=[1, 2])
    assert found.isolated_ms == 100
    assert found.levels[0].latency_ms == 130
    silent = calibrated(ScriptedBackend(latency_ms=lambda _request: 130), concurrencies=[1, 2])
    assert silent.isolated_ms == 130
    assert not silent.service_reported


def refusing(*numbers: int) -> ScriptedBackend:
    """It answers all calls but those of these numbers, from 0."""
    texts = [f"call {number}:" for number in numbers]

    def script(request: ModelRequest) -> str | BackendError:
        failed = any(text in request.prompt for text in texts)
        return BackendError("http_status", "401: who are you?", retryable=False) if failed else "ok"

    return ScriptedBackend(script=script, latency_ms=lambda _request: 100)


@pytest.mark.parametrize("number", range(16))
def test_a_call_that_fails_is_counted_and_is_not_the_end_of_the_others(number: int) -> None:
    # Two calls warm it up, four are alone, eight in a closed loop of two, and two bursts of two.
    whole, found = calibrated(refusing(), concurrencies=[2]), calibrated(refusing(number), concurrencies=[2])
    assert (whole.failed_calls, found.failed_calls) == (0, 1)
    assert found.points == whole.points
    assert found.ratios == whole.ratios


def test_a_burst_in_which_a_call_failed_counts_where_there_is_no_other() -> None:
    # Four calls warm it up, four are alone, sixteen in a closed loop of four, and two bursts of four.
    found = calibrated(refusing(25, 29), concurrencies=[4], calls=4)
    assert (found.failed_calls, len(found.burst_ms)) == (2, 3)


def test_many_calls_that_fail_leave_no_profile() -> None:
    with pytest.raises(CalibrationFailed, match=r"2 of 6 calls failed, one with http_status: 401: who are you\?"):
        calibrated(refusing(3, 4), concurrencies=[2])
    with pytest.raises(CalibrationFailed, match="1 of 1 calls failed"):
        calibrated(refusing(0), concurrencies=[1])


@pytest.mark.parametrize("concurrencies", [[1], [1, 2, 4, 8], [1, 16]])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [0.3, 1.0, 20.0, 1000.0])
def test_an_endpoint_that_counts_whole_milliseconds_is_calibrated(
    concurrencies: list[int], seed: int, scale: float
) -> None:
    """As many engines do, and so say the same, or 0, of many calls."""
    draws = Random(seed)
    latencies: dict[str, float] = {}

    def latency(request: ModelRequest) -> float:
        return latencies.setdefault(request.prompt, scale * draws.uniform(0.8, 1.2))

    backend = ReportingBackend(latency_ms=latency, service_ms=lambda request: int(latency(request)))
    found = calibrated(backend, concurrencies=concurrencies, calls=40)
    assert decode_profile(encode_profile(found), where="here") == found
    assert found.isolated_ms == pytest.approx(scale, abs=0.15 * scale + 0.6)
    if not any(int(value) for value in latencies.values()):
        assert not found.service_reported, "it says 0 of all of them"


def test_equal_readings_of_calls_that_take_differently_long_do_not_end_a_level() -> None:
    backend = ReportingBackend(
        latency_ms=lambda _request: 10.0 + 3 * (len(backend.calls) % 3), service_ms=lambda _request: 10
    )
    found = calibrated(backend, concurrencies=[1], calls=40)
    assert found.levels[0].calls == 40


def test_an_endpoint_that_takes_no_time_leaves_no_profile() -> None:
    with pytest.raises(CalibrationFailed, match="take no time"):
        calibrated(ScriptedBackend(latency_ms=lambda _request: 0))


def test_more_calls_at_once_than_the_backend_may_have_are_refused() -> None:
    with pytest.raises(UsageError, match="may have 4 calls in flight, not 8"):
        calibrated(ScriptedBackend(max_concurrency=4))


def test_limits_by_the_minute_are_not_what_is_measured() -> None:
    with pytest.raises(UsageError, match="limits by the minute"):
        calibrated(ScriptedBackend(tokens_per_minute=1000))


def test_each_call_of_a_calibration_is_made_once() -> None:
    lost = ScriptedBackend(lambda _: BackendError("connection", "lost", retryable=True), retries=6)
    with pytest.raises(CalibrationFailed, match="calls failed, one with connection: lost"):
        calibrated(lost)


def test_a_backend_that_is_awaited_is_calibrated_on_real_time() -> None:
    class Immediate:
        info = BackendInfo(name="real", kind="test", model="m", endpoint="http://127.0.0.1:1/v1")
        limits = Limits()
        can_reason = False

        async def call(self, request: ModelRequest) -> ModelAnswer:
            assert request.max_tokens == 5
            return ModelAnswer("ok", Usage(7, 3), service_ns=1_000_000)

        async def close(self) -> None:
            raise AssertionError("it belongs to the caller")

    reports: list[str] = []
    found = asyncio.run(
        calibrate(Immediate(), date=DATE, concurrencies=[1, 2], max_tokens=5, report=reports.append)
    ).profile
    assert found.client_ms > 0
    assert found.output_tokens == 3
    assert (found.endpoint, found.simulated) == ("http://127.0.0.1:1/v1", False)
    assert reports[0] == "warming up"
    assert reports[-1].startswith("2 at once: ")


# --- the time that it takes ----------------------------------------------------------------------------------------

VARYING = "trace:1513,1859"


def test_without_a_limit_of_time_only_precision_and_calls_end_it() -> None:
    found = calibration(SimulatedBackend(latency=VARYING), concurrencies=[1], precision=0.025)
    assert found.in_time
    assert found.error <= 0.05
    assert found.calls <= 64 + 1 + 64


@pytest.mark.parametrize(("seconds", "in_time"), [(12.0, False), (60.0, False), (1000.0, True)])
def test_it_takes_the_time_it_is_given_and_no_more(seconds: float, in_time: bool) -> None:
    """The seed's own latencies: one at a time the first batch takes four calls, and two bursts of one follow."""
    asked: list[float] = []

    def within(call_s: float) -> float:
        asked.append(call_s)
        return seconds

    found = calibration(SimulatedBackend(latency=VARYING), concurrencies=[1], precision=0.01, within=within)
    assert asked == [pytest.approx(1.513)] or asked == [pytest.approx(1.859)]
    assert found.in_time is in_time
    assert found.seconds <= seconds


def test_what_it_cannot_do_without_is_done_in_any_case() -> None:
    found = calibration(SimulatedBackend(latency="constant:1000"), concurrencies=[1, 2], within=lambda _: 0.0)
    # A warm-up of two, three calls one at a time, three rounds of two, two bursts of two.
    assert (found.calls, found.seconds) == (2 + 3 + 6 + 4, pytest.approx(1 + 3 + 3 + 2))
    assert found.in_time  # it is known for certain by then
    assert found.error == 0
