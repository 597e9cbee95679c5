"""Which changes could have made a difference to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apxm.advice.changes import (
    STRAGGLER,
    Change,
    Faster,
    Hedged,
    Limit,
    NoFailures,
    NoStragglers,
    NoTurn,
    OtherEndpoint,
    Rate,
    Readonly,
)
from apxm.advice.known import Known
from apxm.advice.measured import JOIN, NOBODY, MeasuredRun, Node

_LIMITS = (0.25, 0.5, 2.0, 4.0)
"""By which factors a limit is varied."""
_RATE = 2
_MOST_PLACES = 8
"""So many places are looked at, those that took longest."""
_HEDGED_BEHIND = 0.95
"""A second call is made where the first takes longer than this part of all did."""
_FEWEST_HEDGED = 10
"""Of fewer calls nobody knows which of them are late."""


def candidates(known: Known) -> Iterator[Change]:
    """Those that are most likely to gain something come first."""
    run = known.run
    yield from _limits(known)
    for place in _places(run, lambda node: bool(node.ordered) and run.places[node.place].is_python):
        yield NoTurn(place)
    for tool, place in _ordered_tools(run).items():
        yield Readonly(tool, place)
    for endpoint in sorted({node.endpoint for node in run.nodes if len(node.attempts) > 1}):
        yield NoFailures(endpoint)
    answering = [endpoint for endpoint in range(len(run.endpoints)) if known.ratios(endpoint)]
    for endpoint in answering:
        ratios = known.ratios(endpoint)
        latencies = sorted(run.nodes[node].attempts[-1].latency for node in ratios)
        late = latencies[int(_HEDGED_BEHIND * (len(latencies) - 1))]
        if len(ratios) >= _FEWEST_HEDGED and late < latencies[-1]:
            yield Hedged(endpoint, late)
        if max(ratios.values()) > STRAGGLER:
            yield NoStragglers(endpoint)
    for place in _places(run, lambda _: True)[:_MOST_PLACES]:
        yield Faster(place)
    for place in _places(run, lambda node: node.endpoint != NOBODY)[:_MOST_PLACES]:
        own = {node.endpoint for node in run.nodes if node.place == place}
        for endpoint in answering:
            if endpoint not in own:
                yield OtherEndpoint(place, endpoint)


def _limits(known: Known) -> Iterator[Change]:
    """Higher ones only where there is a limit; lower ones in any case, as an endpoint may do more with less to do."""
    run = known.run
    most = max(known.most_in_flight, default=1)
    yield from (
        Limit(None, to) for to in _varied(run.max_concurrency or most, is_limited=run.max_concurrency is not None)
    )
    for index, endpoint in enumerate(run.endpoints):
        limit = endpoint.limits.max_concurrency
        if limit is not None:
            yield from (Limit(index, to) for to in _varied(limit, is_limited=True))
        for setting in ("requests_per_minute", "tokens_per_minute"):
            if (rate := getattr(endpoint.limits, setting)) is not None:
                yield Rate(index, setting, _RATE * rate)


def _varied(limit: int, *, is_limited: bool) -> list[int]:
    found = {max(1, round(limit * times)) for times in _LIMITS if times < 1 or is_limited}
    return sorted(found - {limit})


def _places(run: MeasuredRun, counts: Callable[[Node], bool]) -> list[int]:
    """Those with such nodes, the ones that took longest first."""
    found: dict[int, int] = {}
    for node in run.nodes:
        if node.place != JOIN and counts(node):
            found[node.place] = found.get(node.place, 0) + node.routed - node.ready
    return sorted(found, key=lambda place: -found[place])


def _ordered_tools(run: MeasuredRun) -> dict[str, int]:
    """The tools whose calls are kept in order, each with the first place that calls it."""
    kept = {run.places[place].tool for place in _places(run, lambda node: bool(node.ordered))}
    found: dict[str, int] = {}
    for place, called in enumerate(run.places):
        if called.tool is not None and called.tool in kept and not called.readonly:
            first = found.setdefault(called.tool, place)
            if (called.file, called.line) < (run.places[first].file, run.places[first].line):
                found[called.tool] = place
    return found
