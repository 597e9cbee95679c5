"""Names of runs: ``20260131-235959-k3vd``. They sort by time, and are short enough to be typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from random import SystemRandom

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""The letters of an id, without those that look like another one: i, l, o, 0, 1."""
_SYSTEM = SystemRandom()
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z2-9]{4}")


def new_run_id(now: float, choose: Callable[[str], str] = _SYSTEM.choice) -> str:
    """The id of a run that starts at the unix time `now`; `choose` picks a character."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{''.join(choose(_LETTERS) for _ in range(4))}"


def is_run_id(text: str) -> bool:
    """Only such a text ever becomes part of a path."""
    return RUN_ID.fullmatch(text) is not None


def start_of(run_id: str) -> str:
    """When a run began, in ISO 8601, UTC, as its id says."""
    date, time, _ = run_id.split("-")
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}Z"
