"""Fits to measured service times what a profile keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from math import sqrt
from statistics import fmean, pstdev
from typing import NamedTuple

from apxm.analysis.profile import Point

Levels = Mapping[int, Sequence[float]]
"""The services measured at each concurrency, in ms; concurrencies rise."""
Bursts = Sequence[Sequence[float]]
"""The services of each burst, in ms; all are of the same size."""

_MOST_RATIOS = 256  # means of so many parts have the slowest of 64 calls within 1%; 65 quantiles were 13% off
_SAME = 1e-6
"""Ratios as near to each other as this are those of a constant."""
_EVIDENCE = 4.0
"""How much χ² has to fall for each further number."""
_LEAST_ERROR = 1e-4
"""No mean is known better than to this part of it."""
_ROUNDS = 8
"""How often the weights of a straight line are taken anew; they settle in three or four rounds."""


class _Guess(NamedTuple):
    """What the mean service may be at each concurrency."""

    services: Mapping[int, float]
    numbers: int
    """How many of them were chosen freely."""


def fitted_points(levels: Levels) -> tuple[Point, ...]:
    """The simplest that the levels allow: the same service at every concurrency, a straight line that rises, or the
    means themselves, made monotone.

    By chance some level is always the slower one. Taken at its word it is a slowdown, and the way beyond the last point
    multiplies that. So each number that a guess chooses has to explain two standard errors: 4 of χ². Where calls do not
    vary there is no chance, and the means are what they are.
    """
    means = {concurrency: fmean(services) for concurrency, services in levels.items()}
    spread = _spread(levels, means)
    errors = {c: max(_LEAST_ERROR, spread / sqrt(len(services))) for c, services in levels.items()}

    def cost(guess: _Guess) -> float:
        misfit = sum(((means[c] / service - 1) / errors[c]) ** 2 for c, service in guess.services.items())
        return misfit + _EVIDENCE * guess.numbers

    monotone = _monotone(levels, means)
    guesses = [monotone] if spread < _LEAST_ERROR else [_constant(levels), _line(levels, means), monotone]
    return tuple(Point(concurrency, service) for concurrency, service in min(guesses, key=cost).services.items())


def _spread(levels: Levels, means: Mapping[int, float]) -> float:
    """How single calls lie around the mean of their level, as parts of it.

    Of all levels together: one that happened to miss the long calls looks not only quick but sure.
    """
    return pstdev(service / means[c] for c, services in levels.items() for service in services)


def _constant(levels: Levels) -> _Guess:
    service = fmean(service for services in levels.values() for service in services)
    return _Guess(dict.fromkeys(levels, service), 1)


def _line(levels: Levels, means: Mapping[int, float]) -> _Guess:
    """Fits by least squares of relative errors: the weights are those of the line found before."""
    line = means
    for _ in range(_ROUNDS):
        weights = {c: len(services) / line[c] ** 2 for c, services in levels.items()}
        total = sum(weights.values())
        middle = sum(weight * c for c, weight in weights.items()) / total
        height = sum(weight * means[c] for c, weight in weights.items()) / total
        spread = sum(weight * (c - middle) ** 2 for c, weight in weights.items())
        slope = sum(weight * (c - middle) * means[c] for c, weight in weights.items()) / spread if spread else 0.0
        if slope <= 0 or height <= slope * (middle - 1):
            return _constant(levels)
        line = {c: height + slope * (c - middle) for c in levels}
    return _Guess(line, 2)


def _monotone(levels: Levels, means: Mapping[int, float]) -> _Guess:
    """Services that never fall as concurrency rises, nearest to those measured: neighbours that do are pooled, each
    counting as often as it was measured (the pool-adjacent-violators algorithm; Ayer et al., 1955)."""
    pools: list[tuple[list[int], float, int]] = []
    for concurrency, services in levels.items():
        pools.append(([concurrency], means[concurrency], len(services)))
        while len(pools) > 1 and pools[-2][1] > pools[-1][1]:
            (later, b, n), (earlier, a, m) = pools.pop(), pools.pop()
            pools.append(([*earlier, *later], (a * m + b * n) / (m + n), m + n))
    return _Guess({concurrency: service for pool, service, _ in pools for concurrency in pool}, len(pools))


def distribution(batches: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Ratios of single services to the mean of their batch, rising; of many, the means of equal parts of them."""
    ratios = sorted(service / mean for batch in batches for mean in [fmean(batch)] for service in batch)
    if ratios[-1] - ratios[0] < _SAME:
        return (1.0,)
    parts = min(len(ratios), _MOST_RATIOS)
    bounds = [len(ratios) * part // parts for part in range(parts + 1)]
    means = (fmean(ratios[low:high]) for low, high in pairwise(bounds))
    # The mean of equal numbers may be less than they are, in its last digit: a part of them must not seem to fall.
    rising = list(accumulate(means, max))
    whole = fmean(rising)
    return tuple(mean / whole for mean in rising)


def in_order_of_end(bursts: Bursts) -> tuple[float, ...]:
    """The mean service of the call that ended first, second, …"""
    return tuple(fmean(services) for services in zip(*map(sorted, bursts), strict=True))
