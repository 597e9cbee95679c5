"""A simulated backend that is taken at its word, beside a calibration and runs of it."""

from __future__ import annotations

from statistics import fmean

import pytest

from apxm.analysis.predict import predict
from apxm.analysis.probes import asks
from apxm.analysis.profile import decode_profile, encode_profile
from apxm.analysis.specified import specified_profile
from apxm.backends.settings import SimulatedSettings
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import UsageError
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.scheduler import Run


def duration_ms(settings: SimulatedSettings, calls: int, seed: int = 0) -> float:
    """Of a fan-out on the backend itself."""
    program = asks([f"prompt {i}" for i in range(calls)], None)
    backend = SimulatedBackend(latency=settings.latency, slowdown=settings.slowdown, seed=seed)
    pool = BackendPool({"simulated": backend}, "simulated")
    return run_virtually(Run(LoadedProgram(program), program.flows[0], (), pool).execute()).duration / 1e6


@pytest.mark.parametrize("slowdown", ["none", "usl:0.05,0.002", "curve:1=1,4=2.1,16=5"])
@pytest.mark.parametrize("calls", [1, 3, 8, 100])
def test_what_is_predicted_of_a_steady_backend_is_what_it_does(slowdown: str, calls: int) -> None:
    settings = SimulatedSettings(latency="constant:120", slowdown=slowdown)
    program = asks([f"prompt {i}" for i in range(calls)], None)
    found = predict(program, program.flows[0], (), specified_profile("dry", settings))
    assert found.mean_ms == pytest.approx(duration_ms(settings, calls), rel=1e-3)
    assert not found.random


@pytest.mark.parametrize("latency", ["lognormal:100,0.4", "trace:50,100,300"])
def test_what_is_predicted_of_a_random_backend_is_what_it_does_on_the_whole(latency: str) -> None:
    settings = SimulatedSettings(latency=latency)
    profile = specified_profile("dry", settings)
    assert profile.isolated_ms == pytest.approx({"l": 108.3287, "t": 150.0}[latency[0]])
    assert fmean(profile.ratios) == pytest.approx(1)
    assert list(profile.ratios) == sorted(profile.ratios)
    if latency.startswith("lognormal"):
        program = asks([f"prompt {i}" for i in range(8)], None)
        found = predict(program, program.flows[0], (), profile, runs=300)
        assert found.mean_ms == pytest.approx(fmean(duration_ms(settings, 8, seed) for seed in range(300)), rel=0.05)


@pytest.mark.parametrize(
    ("latency", "slowdown"), [("constant:0", "none"), ("trace:0,0", "usl:1,1"), ("constant:1", "curve:1=1,9=1e6")]
)
def test_every_specification_makes_a_profile(latency: str, slowdown: str) -> None:
    profile = specified_profile("dry", SimulatedSettings(latency=latency, slowdown=slowdown, max_concurrency=3))
    assert decode_profile(encode_profile(profile), where="here") == profile
    assert profile.max_concurrency == 3


def test_what_is_no_specification_makes_none() -> None:
    with pytest.raises(UsageError, match="latency 'soon'"):
        specified_profile("dry", SimulatedSettings(latency="soon"))
