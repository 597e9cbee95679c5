"""Sharing or queue, of endpoints that are known, on virtual time: a queue only where it shows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from apxm.analysis.calibrate import calibrate
from apxm.analysis.discipline import better_fit
from apxm.analysis.profile import Discipline
from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.loops import run_virtually
from tests.analysis.endpoints import profile, queue

RANDOM = "lognormal:1000,0.4"


def discipline(backend: SimulatedBackend, calls: int) -> Discipline:
    return run_virtually(calibrate(backend, date="", concurrencies=(1, 2, 4, 8), calls=calls)).profile.discipline


# Of these all were taken for a queue once.
@pytest.mark.parametrize(
    ("slowdown", "calls", "seeds"),
    [
        ("none", 32, (3, 6, 7, 12)),
        ("none", 64, (18, 21, 29, 31)),
        ("usl:0.05,0.0001", 32, (3, 6, 8, 12)),
        ("usl:0.05,0.0001", 64, (1, 9, 18, 29)),
        ("usl:0.02,0.002", 64, (1, 9, 16, 18)),
    ],
)
def test_random_calls_that_share_a_processor_are_no_queue(slowdown: str, calls: int, seeds: Sequence[int]) -> None:
    found = {seed: discipline(SimulatedBackend(latency=RANDOM, slowdown=slowdown, seed=seed), calls) for seed in seeds}
    assert found == dict.fromkeys(seeds, "sharing")


@pytest.mark.parametrize("latency", ["constant:1000", RANDOM])
@pytest.mark.parametrize("servers", [1, 2, 4])
def test_a_queue_is_one_with_any_number_of_servers(latency: str, servers: int) -> None:
    found = {seed: discipline(queue(latency, servers, seed), 64) for seed in range(2)}
    assert found == dict.fromkeys(range(2), "queue")


def test_the_order_of_a_burst_tells_a_queue_where_the_durations_do_not() -> None:
    levels = {1: [90.0, 110.0] * 8, 4: [190.0, 210.0] * 8}
    burst = [100.0, 130.0, 170.0, 220.0]
    sharing = profile(100, 200, concurrencies=[1, 4], ratios=[0.5, 0.75, 1, 1.25, 1.5])
    other = profile(100, 200, concurrencies=[1, 4], discipline="queue", ratios=[0.5, 0.75, 1, 1.25, 1.5])
    assert better_fit(sharing, other, levels, [burst] * 8).discipline == "queue"
    mixed = [[burst[(i + k) % 4] for i in range(4)] for k in range(4)]
    assert better_fit(sharing, other, levels, mixed * 2).discipline == "sharing"
