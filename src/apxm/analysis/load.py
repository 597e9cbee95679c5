"""How much the load slowed each operation of a run, if its endpoint behaves as its profile says."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from apxm.analysis.engine_fit import UNITS, EngineFit, Observed, simulated
from apxm.analysis.profile import Profile
from apxm.backends.engine import Tokens
from apxm.runtime.trace import Attempt, Place, Trace

Key = tuple[int, int]
"""Frame and node of an operation."""


def slowdowns(trace: Trace, profile: Profile) -> dict[Key, float]:
    """The factor by which the attempt of each answered operation of the profile's backend was slowed.

    Sharing: a call that is in flight from a to b does the work ∫dt/s(c), so it was slowed by (b−a) over that. Queue: it
    waits for those that were there before it, so s counts the calls in flight when it was sent, itself included. Calls
    of other runs and programs are not seen.
    """
    records = [record for record in trace.operations if record.backend == profile.backend]
    attempts = {(r.frame, r.node, i): attempt for r in records for i, attempt in enumerate(r.attempts)}
    factors = _Factors(profile)
    if profile.discipline == "queue":
        calls = _calls_at_sending(attempts)
        return {(r.frame, r.node): factors.of(calls[r.frame, r.node, len(r.attempts) - 1]) for r in records}
    work = _work_done(attempts.values(), factors)
    found: dict[Key, float] = {}
    for record in records:
        attempt = record.attempts[-1]
        done = work[attempt.received] - work[attempt.sent]
        found[record.frame, record.node] = attempt.latency / done if done else 1.0
    return found


def engine_times(trace: Trace, profile: Profile, engine: EngineFit) -> dict[Key, tuple[float, float]]:
    """What each answered operation of the profile's backend takes in ms by its tokens: alone, and among all attempts of
    this run, sent when these were. Those of which no tokens are known are left out."""
    attempts = [
        (record.frame, record.node, attempt)
        for record in trace.operations
        if record.backend == profile.backend
        for attempt in record.attempts
        if attempt.usage.total is not None
    ]
    attempts.sort(key=lambda each: each[2].sent)
    calls = [
        Observed(
            attempt.sent / 1e6,
            Tokens(
                max(1, (attempt.usage.input_tokens or 0) - (attempt.usage.cached_tokens or 0)),
                attempt.usage.output_tokens or 0,
            ),
            1.0,
        )
        for _, _, attempt in attempts
    ]
    taken = simulated(engine.costs(units=UNITS), [calls])
    return {
        (frame, node): (engine.alone_ms(call.tokens), over)
        for (frame, node, _), call, (_, over) in zip(attempts, calls, taken, strict=True)
    }


class _Factors:
    """s(c) as a float, computed once per c."""

    def __init__(self, profile: Profile) -> None:
        self._curve = profile.slowdown
        self._known: dict[int, float] = {}

    def of(self, calls: int) -> float:
        factor = self._known.get(calls)
        if factor is None:
            factor = self._known[calls] = float(self._curve.factor(calls))
        return factor


def _work_done(attempts: Iterable[Attempt], factors: _Factors) -> dict[int, float]:
    """V(t) = ∫dt/s(c(t)), at every instant at which the load c changes."""
    changes: dict[int, int] = {}
    for attempt in attempts:
        changes[attempt.sent] = changes.get(attempt.sent, 0) + 1
        changes[attempt.received] = changes.get(attempt.received, 0) - 1
    found: dict[int, float] = {}
    calls, done, last = 0, 0.0, 0
    for instant in sorted(changes):
        if calls:
            done += (instant - last) / factors.of(calls)
        found[instant] = done
        calls += changes[instant]
        last = instant
    return found


def _calls_at_sending(attempts: Mapping[Place, Attempt]) -> dict[Place, int]:
    """The calls in flight when each attempt was sent, itself included.

    Of those sent at the same instant, the one that was answered first stood in front.
    """
    arrivals = sorted(attempts.items(), key=lambda item: (item[1].sent, item[1].received))
    departures = sorted(attempt.received for attempt in attempts.values())
    # In flight: all that came up to here, less those that were gone by then.
    return {
        place: max(1, number - bisect_right(departures, attempt.sent))
        for number, (place, attempt) in enumerate(arrivals, start=1)
    }
