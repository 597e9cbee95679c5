"""Means with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from statistics import fmean

from msgspec import Struct

RESAMPLES = 2000


class Interval(Struct, frozen=True):
    """A mean, and between which values it lies with 95% confidence."""

    mean: float
    low: float
    high: float


def mean_interval(samples: Sequence[float], seed: int = 0) -> Interval:
    """The percentile bootstrap (Efron, 1979) of the mean; equal samples and seeds give equal intervals.

    Of a single sample, which says nothing about its spread, the interval is a point.
    """
    if not samples:
        raise ValueError("the mean of no samples")
    mean = fmean(samples)
    if min(samples) == max(samples):
        return Interval(mean, mean, mean)
    random = Random(seed)
    means = sorted(fmean(random.choices(samples, k=len(samples))) for _ in range(RESAMPLES))
    return Interval(mean, means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))])
