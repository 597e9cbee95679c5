"""Whether calls that are in flight together share a processor or stand in a queue, as far as a calibration tells."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, pstdev

from msgspec.structs import replace

from apxm.analysis.fitting import Bursts, Levels, in_order_of_end
from apxm.analysis.predict import Predictor
from apxm.analysis.probes import asks, prompt
from apxm.analysis.profile import Profile
from apxm.analysis.station import Queue
from apxm.runtime.trace import Trace

_SIMULATED_BURSTS = 100
_FELT = 1.05
"""A smaller slowdown may as well be chance."""
_EXACT = 0.01
"""A service is never known better than to this part of it, however little it varied."""
_CLEAR = 16.0
"""How much χ² has to speak for a queue: four standard errors, squared."""
_TIED = 0.001
"""Services as near to each other as this part of them are in no order."""


def better_fit(sharing: Profile, queue: Profile, levels: Levels, bursts: Bursts) -> Profile:
    """The better of two profiles that differ in discipline: the queue where the measurements clearly speak for it.

    Three things tell them apart. The calls of a burst end one after the other in a queue, and together where they share
    a processor. A queue knows no slowdown before its servers are busy, and a straight line behind. And it lets those
    sent first end first, which no other endpoint does. What differs is counted in standard errors, squared: χ².
    """
    if sharing.slowdown.factor(max(levels)) < _FELT:
        return sharing  # nothing to see: a queue that holds nobody up is none
    for_queue = _misfit(sharing, levels, bursts) - _misfit(queue, levels, bursts) + max(0.0, _in_order(bursts)) ** 2
    return queue if for_queue > _CLEAR else sharing


def _misfit(candidate: Profile, levels: Levels, bursts: Bursts) -> float:
    misfit = 0.0
    for concurrency, services in levels.items():
        expected = _expected(candidate, concurrency)
        misfit += _squared_errors(candidate, fmean(services), expected, pstdev(services) / sqrt(len(services)))
    program = asks([prompt(number) for number in range(len(bursts[0]))])
    unlimited = replace(candidate, max_concurrency=None, client_ms=0.0)
    runs = Predictor(program, unlimited, seed=0).runs(program.flows[0], most=_SIMULATED_BURSTS)
    simulated = [sorted(_services(trace)) for trace in runs]
    for measured, expected in zip(in_order_of_end(bursts), zip(*simulated, strict=True), strict=True):
        misfit += _squared_errors(candidate, measured, fmean(expected), pstdev(expected) / sqrt(len(bursts)))
    return misfit


def _expected(candidate: Profile, concurrency: int) -> float:
    """The mean service of a closed loop."""
    if candidate.discipline == "queue":
        return candidate.isolated_ms * max(1.0, concurrency / Queue.throughput(candidate))
    return candidate.isolated_ms * float(candidate.slowdown.factor(concurrency))


def _squared_errors(candidate: Profile, measured: float, expected: float, standard_error: float) -> float:
    # An endpoint that counts in whole milliseconds says 0 of some calls: nothing is expected, and not for certain.
    least = _EXACT * candidate.isolated_ms
    return (measured - expected) ** 2 / (standard_error**2 + (_EXACT * max(expected, least)) ** 2)


def _services(trace: Trace) -> list[float]:
    attempts = [record.attempts[-1] for record in trace.operations]
    return [(attempt.service_ns or 0) / 1e6 for attempt in attempts]


def _in_order(bursts: Bursts) -> float:
    """How many standard errors longer the calls sent later took.

    The mean of the bursts' rank correlations (Spearman's). Where the order means nothing, that of m ranks has the
    variance 1/(m − 1) around 0, less if some are tied. A network may mix up the order: none is no evidence against it.
    """
    size = len(bursts[0])
    return fmean(map(_rank_correlation, bursts)) * sqrt(len(bursts) * (size - 1))


def _rank_correlation(services: Sequence[float]) -> float:
    middle = (len(services) - 1) / 2
    places = [place - middle for place in range(len(services))]
    ranks = [rank - middle for rank in _ranks(services)]
    return sum(a * b for a, b in zip(places, ranks, strict=True)) / (sum(a * a for a in places) or 1.0)


def _ranks(services: Sequence[float]) -> list[float]:
    """The place of each among all by size, from 0; those that are tied share the mean of their places."""
    found = [0.0] * len(services)
    order = sorted(range(len(services)), key=services.__getitem__)
    first = 0
    while first < len(order):
        limit = services[order[first]] * (1 + _TIED)
        tied = [i for i in order[first:] if services[i] <= limit]
        for i in tied:
            found[i] = first + (len(tied) - 1) / 2
        first += len(tied)
    return found
