"""Names of runs: ``20260131-235959-k3vd``. They sort by time, and are short enough to be typed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from time import time

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""The letters of an id, without those that look like another one: i, l, o, 0, 1."""
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z2-9]{4}(?:[a-z2-9]{4})?")
_SHORT = 8
"""How many ids of a second have four letters. A process that gives more may not be the only one that does, and among
thousands two would be equal every few seconds; then they have eight."""


_given: dict[str, set[str]] = {}
"""The ends of the ids that this process has given, by their second: the last one alone."""
_unused: set[str] = set()
"""Those of them that nobody has asked for yet."""


_drawn: list[int] = []
"""Random numbers that nobody has had. They are drawn many at once, as to ask the system lets other threads go first."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drawn.clear)


def _chosen(letters: int) -> str:
    try:
        drawn = _drawn.pop()
    except IndexError:
        drawn, *others = memoryview(os.urandom(512)).cast("Q")
        _drawn.extend(others)
    end = ""
    for _ in range(letters):
        drawn, letter = divmod(drawn, len(_LETTERS))
        end += _LETTERS[letter]
    return end


def new_run_id(now: float | None = None, choose: Callable[[int], str] = _chosen) -> str:
    """An id for a run that starts at the unix time `now`, by default at once; `choose` picks so many characters.

    A process gets each only once: a service may begin hundreds of runs in a second.
    """
    second = f"{datetime.fromtimestamp(time() if now is None else now, UTC):%Y%m%d-%H%M%S}"
    given = _given.get(second)
    if given is None:
        _given.clear()
        _unused.clear()
        given = _given[second] = set()
    letters = 4 if len(given) < _SHORT else 8
    while (end := choose(letters)) in given:
        pass
    given.add(end)
    _unused.add(end)
    return f"{second}-{end}"


def is_new(run_id: str) -> bool:
    """Whether this process made the id a moment ago, and nobody asked before: then no run has it."""
    second, _, end = run_id.rpartition("-")
    unused = _unused if second in _given else set[str]()
    if end not in unused:
        return False
    unused.remove(end)
    return True


def is_run_id(text: str) -> bool:
    """Only such a text ever becomes part of a path."""
    return RUN_ID.fullmatch(text) is not None


def start_of(run_id: str) -> str:
    """When a run began, in ISO 8601, UTC, as its id says."""
    i = run_id
    return f"{i[:4]}-{i[4:6]}-{i[6:8]}T{i[9:11]}:{i[11:13]}:{i[13:15]}Z"
