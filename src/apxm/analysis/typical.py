"""What a profile says of calls of a kind, where it has an engine that says what any call takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from statistics import NormalDist, fmean

from apxm.analysis.engine_fit import UNITS, EngineFit, Observed, simulated
from apxm.analysis.profile import Point
from apxm.backends.engine import Tokens

TYPICAL = Tokens(300, 40)
"""The call of which the points of a profile tell."""


def typical_points(engine: EngineFit, concurrencies: Sequence[int]) -> tuple[Point, ...]:
    """The mean latency of so many calls of a kind, sent at once."""
    points: list[Point] = []
    for c in sorted({1, *concurrencies}):
        took = simulated(engine.costs(units=UNITS), [[Observed(0.0, TYPICAL, 1.0)] * c])
        points.append(Point(c, max([fmean(over for _, over in took), *(point.service_ms for point in points)])))
    return tuple(points)


def spread_ratios(spread: float) -> tuple[float, ...]:
    """Equally likely ratios around their mean."""
    if not spread:
        return (1.0,)
    ratios = [exp(spread * NormalDist().inv_cdf((k + 0.5) / 64)) for k in range(64)]
    return tuple(ratio / fmean(ratios) for ratio in ratios)
