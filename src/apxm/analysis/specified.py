"""The profile of a simulated backend: nobody has to measure what its configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from statistics import NormalDist, fmean

from apxm.analysis.engine_fit import EngineFit
from apxm.analysis.profile import Point, Profile
from apxm.analysis.typical import spread_ratios, typical_points
from apxm.backends.latency import (
    NS_PER_MS,
    FixedLatency,
    LatencyModel,
    LogNormalLatency,
    TokenLatency,
    TraceLatency,
    parse_latency,
)
from apxm.backends.settings import SimulatedSettings
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, TYPICAL_ECHO, check_slowdown
from apxm.backends.slowdown import MAX_FACTOR, Curve, Slowdown, parse_slowdown

_QUANTILES = 256  # as many as a measured profile has ratios
_LEAST_MS = 1e-6
"""A profile has no service of 0."""
_LOADS = (*range(1, 65), *(round(64 * 1.05**k) for k in range(1, 200)))
"""Calls at once at which a law is written down, up to a million. Between them a straight line misses it by 0.06%."""


def specified_profile(name: str, settings: SimulatedSettings) -> Profile:
    """What `calibrate` would find if it had the time. Raises `UsageError` for a specification that is none."""
    latency, slowdown = parse_latency(settings.latency), parse_slowdown(settings.slowdown)
    if isinstance(latency, TokenLatency):
        check_slowdown(latency, slowdown)
        return _of_engine(name, settings, latency)
    services = _services(latency)
    isolated = max(_LEAST_MS, _mean(latency, services))
    whole = fmean(services)
    return Profile(
        backend=name,
        model=settings.model,
        endpoint=None,
        simulated=True,
        max_concurrency=settings.limits.max_concurrency,
        date="",
        discipline="sharing",
        levels=(),
        points=tuple(Point(calls, isolated * factor) for calls, factor in _factors(slowdown)),
        ratios=tuple(service / whole for service in services) if whole else (1.0,),
        burst_ms=(),
        client_ms=0.0,
        service_reported=True,
        output_tokens=None,
        specification=f"latency {latency}, slowdown {slowdown}",
    )


def _of_engine(name: str, settings: SimulatedSettings, latency: TokenLatency) -> Profile:
    costs = latency.costs
    engine = EngineFit(
        fixed_ms=costs.fixed / NS_PER_MS,
        step_ms=costs.step / NS_PER_MS,
        prefill_ms=costs.prefill / NS_PER_MS,
        decode_ms=costs.decode / NS_PER_MS,
        slots=costs.slots,
        chunk=costs.chunk,
        cache=costs.cache,
        spread=latency.spread,
        characters_per_token=CHARACTERS_PER_TOKEN,
        tokens_per_call=0.5,  # they are rounded up
        answer_tokens=latency.answer or TYPICAL_ECHO,
        answer_spread=latency.answer_spread,
    )
    return Profile(
        backend=name,
        model=settings.model,
        endpoint=None,
        simulated=True,
        max_concurrency=settings.limits.max_concurrency,
        date="",
        discipline="sharing" if costs.slots is None else "queue",
        levels=(),
        points=typical_points(engine, [2**k for k in range(7)]),
        ratios=spread_ratios(engine.spread),
        burst_ms=(),
        client_ms=0.0,
        service_reported=True,
        output_tokens=None,
        specification=f"latency {latency}",
        engine=engine,
    )


def _services(latency: LatencyModel) -> Sequence[float]:
    """The service times of calls that are alone, in ms, rising and equally likely."""
    match latency:
        case LogNormalLatency():
            normal = NormalDist()
            quantiles = ((k + 0.5) / _QUANTILES for k in range(_QUANTILES))
            return [latency.median_ns / NS_PER_MS * exp(latency.sigma * normal.inv_cdf(q)) for q in quantiles]
        case TraceLatency():
            return sorted(value / NS_PER_MS for value in latency.values_ns)
        case FixedLatency():
            return [latency.ns / NS_PER_MS]


def _mean(latency: LatencyModel, services: Sequence[float]) -> float:
    if isinstance(latency, LogNormalLatency):  # the quantiles leave out what is beyond the last
        return latency.median_ns / NS_PER_MS * exp(latency.sigma**2 / 2)
    return fmean(services)


def _factors(slowdown: Slowdown) -> list[tuple[int, float]]:
    loads = [calls for calls, _ in slowdown.points] if isinstance(slowdown, Curve) else _LOADS
    factors = ((calls, float(slowdown.factor(calls))) for calls in loads)
    return [(calls, factor) for calls, factor in factors if factor <= MAX_FACTOR]
