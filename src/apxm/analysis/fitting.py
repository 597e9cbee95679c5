"""From measured service times to what a profile keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log2, sqrt
from statistics import fmean, pstdev

from msgspec.structs import replace

from apxm.analysis.endpoint import Queue
from apxm.analysis.predict import simulate
from apxm.analysis.probes import asks, prompt
from apxm.analysis.profile import Point, Profile
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.trace import Trace

Levels = Mapping[int, Sequence[float]]
"""By concurrency, rising: the services measured there, in ms."""
Bursts = Sequence[Sequence[float]]
"""The services of each burst, in ms; all are of the same size."""

_MOST_RATIOS = 256
_SAME = 1e-6
"""Ratios as near to each other as this are those of a constant."""
_SIMULATED_BURSTS = 100
_FELT = 1.05
"""A smaller slowdown may as well be chance."""
_EXACT = 0.01
"""A service is never known better than to this part of it, however little it varied."""
_CLEAR = 2.0
"""Standard errors by which services must rise with the concurrency to be called slowed down."""
_CLEARLY_QUEUE = 9.0
"""By how much a queue must explain the measurements better, in squared standard errors. Sharing is the prior: engines
with continuous batching do it, and one that is taken for a queue is predicted far too slow."""


def monotone_points(levels: Levels) -> tuple[Point, ...]:
    """Services that never fall as concurrency rises, nearest to those measured: neighbours that do are pooled, each
    counting as often as it was measured (the pool-adjacent-violators algorithm; Ayer et al., 1955).

    Where they do not clearly rise at all, they are one and the same: pooling keeps upward noise alone, and would call
    that contention.
    """
    if not _clearly_rise(levels):
        same = fmean(service for services in levels.values() for service in services)
        return tuple(Point(concurrency, same) for concurrency in levels)
    pools: list[tuple[list[int], float, int]] = []
    for concurrency, services in levels.items():
        pools.append(([concurrency], fmean(services), len(services)))
        while len(pools) > 1 and pools[-2][1] > pools[-1][1]:
            (later, b, n), (earlier, a, m) = pools.pop(), pools.pop()
            pools.append(([*earlier, *later], (a * m + b * n) / (m + n), m + n))
    return tuple(Point(concurrency, service) for pool, service, _ in pools for concurrency in pool)


def _clearly_rise(levels: Levels) -> bool:
    """Whether the slope of the services over the logarithm of the concurrency is positive beyond chance: a weighted
    regression, with the spread within the levels as the error of a single service."""
    count = sum(map(len, levels.values()))
    mean = fmean(service for services in levels.values() for service in services)
    center = sum(len(services) * log2(c) for c, services in levels.items()) / count
    spread = sum(len(services) * (log2(c) - center) ** 2 for c, services in levels.items())
    if not spread:
        return False
    slope = sum(len(services) * (log2(c) - center) * fmean(services) for c, services in levels.items()) / spread
    within = sum(len(services) * pstdev(services) ** 2 for services in levels.values()) / count
    error = sqrt((within + (_EXACT * mean) ** 2) / spread)
    return slope > _CLEAR * error


def distribution(batches: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Ratios of single services to the mean of their batch, rising; of many, the means of equal parts of them."""
    ratios = sorted(service / mean for batch in batches for mean in [fmean(batch)] for service in batch)
    if ratios[-1] - ratios[0] < _SAME:
        return (1.0,)
    parts = min(len(ratios), _MOST_RATIOS)
    bounds = [len(ratios) * part // parts for part in range(parts + 1)]
    means = [fmean(ratios[low:high]) for low, high in pairwise(bounds)]
    whole = fmean(means)
    return tuple(mean / whole for mean in means)


def in_order_of_end(bursts: Bursts) -> tuple[float, ...]:
    """The mean service of the call that ended first, second, …"""
    return tuple(fmean(services) for services in zip(*map(sorted, bursts), strict=True))


def better_fit(sharing: Profile, queue: Profile, levels: Levels, bursts: Bursts) -> Profile:
    """The one of two profiles, alike but for their discipline, that explains the measurements better.

    The calls of a burst end one after the other in a queue, and together where they share a processor. And a queue
    knows no slowdown before its servers are busy, and a straight line behind. What differs is counted in standard
    errors, squared: χ². Without a slowdown there is nothing to see, and it is sharing; so it is without clear evidence.
    """
    if sharing.slowdown.factor(max(levels)) < _FELT:
        return sharing
    better_by = _misfit(sharing, levels, bursts) - _misfit(queue, levels, bursts)
    return queue if better_by > _CLEARLY_QUEUE else sharing


def _misfit(candidate: Profile, levels: Levels, bursts: Bursts) -> float:
    misfit = 0.0
    for concurrency, services in levels.items():
        expected = _expected(candidate, concurrency)
        misfit += _squared_errors(fmean(services), expected, pstdev(services) / sqrt(len(services)))
    program = asks([prompt(number) for number in range(len(bursts[0]))])
    unlimited = replace(candidate, max_concurrency=None, client_ms=0.0)
    runs = simulate(LoadedProgram(program), program.flows[0], (), unlimited, runs=_SIMULATED_BURSTS)
    simulated = [sorted(_services(trace)) for trace in runs]
    for measured, expected in zip(in_order_of_end(bursts), zip(*simulated, strict=True), strict=True):
        misfit += _squared_errors(measured, fmean(expected), pstdev(expected) / sqrt(len(bursts)))
    return misfit


def _expected(candidate: Profile, concurrency: int) -> float:
    """The mean service of a closed loop."""
    if candidate.discipline == "queue":
        return candidate.isolated_ms * max(1.0, concurrency / Queue.throughput(candidate))
    return candidate.isolated_ms * float(candidate.slowdown.factor(concurrency))


def _squared_errors(measured: float, expected: float, standard_error: float) -> float:
    return (measured - expected) ** 2 / (standard_error**2 + (_EXACT * expected) ** 2)


def _services(trace: Trace) -> list[float]:
    attempts = [record.attempts[-1] for record in trace.operations]
    return [(attempt.service_ns or 0) / 1e6 for attempt in attempts]
