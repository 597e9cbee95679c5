"""A run as it was, or as it could have been: all that is needed to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from apxm.advice.laws import Law
from apxm.advice.measured import MeasuredRun
from apxm.backends.protocol import Limits


class Try(NamedTuple):
    """One attempt of an operation. Times in ns."""

    outcome: str
    work: int
    """What whoever does it would take for it alone."""
    before: int
    """From when it has its slot to when it is sent."""
    after: int
    """From when its work is done to when whatever waits for it goes on."""
    pause: int
    """From the end of the attempt before to when it could begin."""
    order: int
    """Its number among the calls of its endpoint, by when they came."""
    was_over: int
    """When its work was done, in the run as it was."""
    input: int | None
    output: int | None
    """Tokens."""


class Wall(NamedTuple):
    """An endpoint refuses what comes when it has so many calls in flight."""

    calls: int
    latency: int
    """What a refusal takes, in ns."""
    retry_after_s: float
    """How long it asks to be left alone then."""


class Hedge(NamedTuple):
    """A second call is made where the first has not been answered."""

    after: int
    """How late, in ns."""
    second: Mapping[int, Sequence[float]]
    """What a second call may bring, by node, each as likely; operations that are not in it are not hedged."""


class Scenario(Struct, frozen=True, kw_only=True):
    run: MeasuredRun
    behind: Sequence[Sequence[int]]
    """What each node comes behind."""
    waits: Sequence[int]
    """How long each operation waits for its own code, in ns, once all that it comes behind is over."""
    tries: Sequence[Sequence[Try]]
    endpoints: Sequence[int]
    """Who does each node."""
    laws: Sequence[Law]
    """Those of the endpoints."""
    walls: Mapping[int, Wall]
    """Those of the endpoints that have one."""
    retry_after: Mapping[int, float]
    """What endpoints ask for, in seconds, when they refuse a call."""
    limits: Sequence[Limits]
    """What the endpoints allow."""
    max_concurrency: int | None
    tail: int
    """What was left to do once all operations were over, in ns."""
    hedge: Hedge | None = None
    seed: int = 0
    """Draws pauses, and what second calls bring."""
