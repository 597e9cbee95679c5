"""Names of runs: ``20260131-235959-k3vd``. They sort by time, and are short enough to be typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from random import SystemRandom
from time import time

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""The letters of an id, without those that look like another one: i, l, o, 0, 1."""
_SYSTEM = SystemRandom()
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z2-9]{4}")


_given: dict[str, set[str]] = {}
"""The ends of the ids that this process has given, by their second: the last one alone."""


def new_run_id(now: float | None = None, choose: Callable[[str], str] = _SYSTEM.choice) -> str:
    """An id for a run that starts at the unix time `now`, by default at once; `choose` picks a character.

    A process gets each only once: a service may begin hundreds of runs in a second.
    """
    second = f"{datetime.fromtimestamp(time() if now is None else now, UTC):%Y%m%d-%H%M%S}"
    given = _given.get(second)
    if given is None:
        _given.clear()
        given = _given[second] = set()
    while (end := "".join(choose(_LETTERS) for _ in range(4))) in given:
        pass
    given.add(end)
    return f"{second}-{end}"


def is_run_id(text: str) -> bool:
    """Only such a text ever becomes part of a path."""
    return RUN_ID.fullmatch(text) is not None


def start_of(run_id: str) -> str:
    """When a run began, in ISO 8601, UTC, as its id says."""
    day, second, _ = run_id.split("-")
    return f"{day[:4]}-{day[4:6]}-{day[6:]}T{second[:2]}:{second[2:4]}:{second[4:]}Z"
