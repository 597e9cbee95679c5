"""Two runs beside each other: what changed at each place of their program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from apxm.operations.types import Value
from apxm.reports.page.sites import Site

MOST_NAMED = 10_000
Sides = tuple[Any, Any]
"""Of the first run, and of the second."""


class Change(Struct):
    """One place; times in ms."""

    path: str
    operation: str
    calls: Sides
    time: Sides
    tokens: Sides
    """Input and output together; None where one of them is not known."""
    changed: list[str]
    """Operations that both have made, and that were answered otherwise; no more than `MOST_NAMED` of all."""
    number: int
    """How many there are."""


def changes(runs: Sides, answers: tuple[Mapping[str, Value], Mapping[str, Value]]) -> list[Change]:
    """`runs` are models, `answers` what their operations gave, by path. What changed most comes first."""
    found: dict[tuple[str, str], Change] = {}
    names: dict[str, Change] = {}
    for side, run in enumerate(runs):
        columns = run["operations"]
        sites: list[Site] = run["sites"]
        for number, path in enumerate(columns["path"]):
            at: int = columns["site"][number]
            site = sites[at]
            key = site.path, site.operation
            change = found.setdefault(key, Change(*key, (0, 0), (0.0, 0.0), (0, 0), [], 0))
            names[path] = change
            change.calls = _with(change.calls, side, 1)
            change.time = _with(change.time, side, latency_us(columns, number) / 1e3)
            used = columns["input"][number], columns["output"][number]
            change.tokens = _with(change.tokens, side, None if min(used) < 0 else sum(used))
    left = MOST_NAMED
    for path in answers[0].keys() & answers[1].keys() & names.keys():
        if answers[0][path] != answers[1][path]:
            change = names[path]
            change.number += 1
            if left:
                left -= 1
                change.changed.append(path)
    for change in found.values():
        change.changed.sort()
    return sorted(found.values(), key=lambda change: -abs(change.time[1] - change.time[0]))


def latency_us(columns: Mapping[str, Any], number: int) -> int:
    """That of all attempts of an operation."""
    earlier = columns["earlier"].get(number, ())
    return columns["received"][number] + sum(attempt[3] - attempt[2] for attempt in earlier)


def _with(sides: Sides, side: int, more: float | None) -> Sides:
    now = list(sides)
    now[side] = None if more is None or now[side] is None else now[side] + more
    return now[0], now[1]
