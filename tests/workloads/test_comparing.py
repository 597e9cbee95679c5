"""What a comparison predicts from its own calibration, of endpoints that are known; on virtual time."""

from __future__ import annotations

from statistics import fmean, median

import pytest
from benchmarks.prediction import measured

from apxm.analysis.calibrate import calibrate
from apxm.analysis.predict import predict
from apxm.analysis.probes import asks
from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.loops import run_virtually
from apxm.workloads.comparing import CALIBRATION_CALLS, CALIBRATION_GROWTH, CALIBRATION_PRECISION
from apxm.workloads.measuring import Schedule

WIDTH = 16
LATENCY = "lognormal:300,0.4"


@pytest.mark.parametrize("slowdown", ["none", pytest.param("usl:0.05,0.0001", marks=pytest.mark.soak)])
def test_random_calls_are_predicted_at_twice_the_calibrated_width(slowdown: str) -> None:
    program = asks([f"Task {i}" for i in range(WIDTH)])
    flow = program.flows[0]
    endpoint = SimulatedBackend(latency=LATENCY, slowdown=slowdown, seed=99)
    samples = measured(LoadedProgram(program), flow, None, endpoint, precision=0.005)
    errors: list[float] = []
    for seed in range(5):
        profile = run_virtually(
            calibrate(
                SimulatedBackend(latency=LATENCY, slowdown=slowdown, seed=seed),
                date="",
                concurrencies=Schedule((1, WIDTH), iterations=1, warmup=0).calibrated,
                calls=CALIBRATION_CALLS,
                growth=CALIBRATION_GROWTH,
                precision=CALIBRATION_PRECISION,
            )
        ).profile
        errors.append(abs(predict(program, flow, (), profile, runs=1000).mean_ms / fmean(samples) - 1))
    assert median(errors) <= 0.03
    assert max(errors) <= 0.1
