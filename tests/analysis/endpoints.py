"""Endpoints whose every delay a test decides, and profiles of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any, cast

from msgspec.structs import replace

from apxm.analysis.profile import Discipline, Point, Profile
from apxm.backends.protocol import Clock, Handle, ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.testing import ScriptedBackend

Ms = Callable[[ModelRequest], float]


@dataclass(eq=False)
class ReportingBackend(ScriptedBackend):
    """A `ScriptedBackend` that says how long it worked; the rest of a call's latency is the way there and back."""

    service_ms: Ms | None = None

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        service = (self.service_ms or self.latency_ms)(request)

        def report(outcome: ModelAnswer | BackendError) -> None:
            known = isinstance(outcome, ModelAnswer)
            done(replace(outcome, service_ns=round(service * 1e6)) if known else outcome)

        return super().begin(request, clock, report)


@dataclass(eq=False)
class QueueBackend(ReportingBackend):
    """One call at a time, in the order of arrival."""

    free_at_ms: float = 0

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        now = clock.now() / 1e6
        own = self.latency_ms
        self.free_at_ms = max(now, self.free_at_ms) + own(request)
        waited = self.free_at_ms - now
        self.latency_ms = lambda _request: waited
        try:
            return super().begin(request, clock, done)
        finally:
            self.latency_ms = own


class Servers:
    """So many calls at a time, in the order of arrival: what `SimulatedBackend` has in place of a shared processor."""

    def __init__(self, count: int) -> None:
        self._free_at = [0] * count

    def begin(self, work_ns: int, clock: Clock, done: Callable[[int], None]) -> Handle:
        arrived = clock.now()
        end = max(arrived, self._free_at[0]) + work_ns
        heapreplace(self._free_at, end)
        return clock.call_at(end, lambda: done(end - arrived))


def queue(latency: str, servers: int, seed: int) -> SimulatedBackend:
    backend = SimulatedBackend(latency=latency, seed=seed)
    cast(Any, backend)._sharing = Servers(servers)
    return backend


def profile(
    *services_ms: float,
    concurrencies: Sequence[int] = (1, 2, 4, 8, 16),
    discipline: Discipline = "sharing",
    ratios: Sequence[float] = (1.0,),
    client_ms: float = 0.0,
    backend: str = "scripted",
    output_tokens: float | None = None,
) -> Profile:
    """Of an endpoint with these mean services at concurrency 1, 2, 4, …"""
    return Profile(
        backend=backend,
        model="scripted",
        endpoint=None,
        simulated=True,
        max_concurrency=None,
        date="2025-01-01",
        discipline=discipline,
        levels=(),
        points=tuple(Point(c, s) for c, s in zip(concurrencies, services_ms, strict=False)),
        ratios=tuple(ratios),
        burst_ms=(),
        client_ms=client_ms,
        service_reported=True,
        output_tokens=output_tokens,
    )
