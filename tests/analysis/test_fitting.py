"""From measured services to the points and the distribution of a profile."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest

from apxm.analysis.calibrate import calibrate
from apxm.analysis.fitting import fitted_points
from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.loops import run_virtually

CONCURRENCIES = (1, 2, 4, 8)


def noisy(means: dict[int, float], calls: int, spread: float) -> dict[int, list[float]]:
    """Half of the calls above the mean, half of them below."""
    return {c: [mean * (1 + spread * (-1) ** i) for i in range(calls)] for c, mean in means.items()}


def fitted(means: dict[int, float], calls: int = 100, spread: float = 0.4) -> dict[int, float]:
    return {point.concurrency: point.service_ms for point in fitted_points(noisy(means, calls, spread))}


def test_a_difference_within_the_noise_is_no_slowdown() -> None:
    # A standard error is 4%.
    assert fitted({1: 100, 2: 97, 4: 103, 8: 104}) == pytest.approx(dict.fromkeys(CONCURRENCIES, 101))


def test_the_same_difference_is_one_where_calls_vary_less() -> None:
    found = fitted({1: 100, 2: 97, 4: 103, 8: 104}, spread=0.004)
    assert found == pytest.approx({1: 98.5, 2: 98.5, 4: 103, 8: 104})


def test_a_slowdown_beyond_the_noise_is_a_straight_line() -> None:
    found = fitted({1: 100, 2: 114, 4: 126, 8: 172})
    assert found[8] / found[1] == pytest.approx(1.7, abs=0.05)
    slopes = [(found[b] - found[a]) / (b - a) for a, b in ((1, 2), (2, 4), (4, 8))]
    assert slopes == pytest.approx([slopes[0]] * 3)


def test_a_bend_beyond_the_noise_stays_a_bend() -> None:
    bent: dict[int, float] = {1: 100, 2: 101, 4: 103, 8: 204}
    assert fitted(bent) == pytest.approx(bent)


def test_what_does_not_vary_is_taken_at_its_word() -> None:
    exact: dict[int, float] = {1: 100, 2: 100.5, 4: 101.6, 8: 103.7}
    assert fitted(exact, spread=0) == exact


def test_levels_that_fall_are_pooled_by_their_calls() -> None:
    levels = {1: [100.0] * 30, 2: [90.0] * 10, 4: [200.0] * 10}
    assert [point.service_ms for point in fitted_points(levels)] == [97.5, 97.5, 200]


def test_one_level_is_its_mean() -> None:
    random = Random(1)
    services = [random.lognormvariate(0, 0.4) for _ in range(50)]
    (point,) = fitted_points({1: services})
    assert point.service_ms == pytest.approx(fmean(services))


def test_an_endpoint_without_a_slowdown_has_none_however_random_it_is() -> None:
    for seed in range(10):
        backend = SimulatedBackend(latency="lognormal:1000,0.4", seed=seed)
        found = run_virtually(calibrate(backend, date="", concurrencies=CONCURRENCIES, calls=64)).profile
        assert found.slowdown.factor(16) == 1, seed
