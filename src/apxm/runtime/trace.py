"""What a run leaves behind: every instant of every operation that waited, on one clock (DESIGN §5).

Instants are integers in ns. An operation is *ready* when its last token arrived; each attempt of it is *granted* a
slot, *sent*, and *received*; then the operation is *routed*: its tokens are delivered. Operations that never wait are
counted. The scheduler's own time is sampled, since each reading of the clock costs what a twentieth of it does.

While the run goes on, records are plain tuples: they cost a seventh of named ones, and a garbage collector that finds
nothing but numbers in them need not look again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from apxm.backends.protocol import BackendInfo, Limits, Usage
from apxm.operations.answers import OF_NO_USE
from apxm.operations.types import Value
from apxm.program.nodes import Operate
from apxm.program.program import Flow, Program
from apxm.program.unfolding import FrameRecord, path_of
from apxm.runtime.budget import Budget
from apxm.runtime.stopped import Stopped
from apxm.source import shortened_left

CLOCKED_EACH = 16
"""How many operations that wait have the scheduler's own time for them measured, each of them."""
CLOCKED_ONE_IN = 8
"""Which share of the waiting operations behind the first `CLOCKED_EACH` is measured: one in so many."""
CLOCKED_INLINE = 64
"""Which share of the operations that never wait is measured: one in so many."""


class Status(StrEnum):
    """How a run ended; the same words everywhere."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PAUSED = "paused"
    STOPPED = "stopped"


Place = tuple[int, int, int]
"""An attempt of this run: frame, node, and which attempt of that operation, from 0."""
ANOTHER_RUN: Place = (-1, -1, -1)
"""Stands for an attempt of another run of the process."""


class Attempt(NamedTuple):
    """One try of an operation that waits."""

    asked: int
    """When it could have started: the operation was ready or, for a later attempt, the pause before it was over."""
    granted: int
    sent: int
    received: int
    outcome: str
    """``ok``, ``cancelled``, or the `kind` of the error."""
    service_ns: int | None
    """What the endpoint says it spent, clamped to the latency; None where it says nothing."""
    usage: Usage
    """What it used, as far as the endpoint says; a failed or cancelled attempt has nothing known."""
    slot_from: Place | None = None
    """Whose end gave it its slot; None where it was granted without any coming to an end."""
    first: int | None = None
    """When the first part of its answer was there; None where the answer came whole."""

    @property
    def latency(self) -> int:
        return self.received - self.sent

    @property
    def answered(self) -> bool:
        """Whether an answer came, be it one that the operation could not use."""
        return self.outcome == "ok" or self.outcome in OF_NO_USE


class OperationRecord(NamedTuple):
    """One operation that waited."""

    frame: int
    """Index in `Trace.frames`."""
    node: int
    """Index in the nodes of the frame's plan."""
    backend: str
    ready: int
    routed: int
    attempts: tuple[Attempt, ...]

    @property
    def succeeded(self) -> bool:
        return bool(self.attempts) and self.attempts[-1].outcome == "ok"


RawAttempt = tuple[int, int, int, int, str, int | None, Usage, Place | None, int | None]
"""The fields of an `Attempt`."""
RawOperation = tuple[
    int, int, str, int, int, tuple[RawAttempt, ...],
    int, int, int, int, str, int | None, Usage, Place | None, int | None,
]  # fmt: skip
"""The fields of an `OperationRecord`, with all attempts but the last; then those of the last. One tuple costs less than
three."""


def operation_record(raw: RawOperation) -> OperationRecord:
    """The record that a raw operation stands for; `records.Records` makes those."""
    return OperationRecord(*raw[:5], (*map(Attempt._make, raw[5]), Attempt._make(raw[6:])))


def _empty() -> list[Any]:
    # To call `list[int]` takes eight times as long, and a trace has seven lists.
    return []


@dataclass
class Overhead:
    """Samples of the scheduler's own time per operation, in ns, one list per part."""

    input_collection: list[int] = field(default_factory=_empty)
    """The time from an operation's being taken to its operands being collected."""
    dispatch: list[int] = field(default_factory=_empty)
    """The time to begin and to end an operation's last attempt, waiting left out; none for one that never waits."""
    token_routing: list[int] = field(default_factory=_empty)
    """The time from an outcome's being received to its tokens being delivered."""


class Failure(NamedTuple):
    """One operation that failed; those skipped because of it are not listed."""

    operation: str
    """Its stable path, such as ``summary/draft``."""
    where: str
    """``file:line:column``"""
    kind: str
    message: str


@dataclass(repr=False)  # at the end of each run `asyncio.Runner` has the result of its task written out, to no use
class Trace:
    program: Program
    flow: Flow
    started: int
    ended: int = 0
    status: Status = Status.SUCCEEDED
    value: Value = None
    """The flow's result; None unless the run succeeded, or the flow has none."""
    printed: list[str] = field(default_factory=_empty)
    failures: list[Failure] = field(default_factory=_empty)
    """The failures in the order of the text, never of time; those of one place, in a flow called twice, by path."""
    caught: list[Failure] = field(default_factory=_empty)
    """The failures in the body of a `try`, which fail nothing outside of it, in the same order."""
    frames: Sequence[FrameRecord] = ()
    raw: list[RawOperation] = field(default_factory=_empty)
    """What `operations` is made from."""
    overhead: Overhead = field(default_factory=Overhead)
    processor_ns: int = field(default=0, compare=False)
    """Processor time of the whole process between start and end, on whatever clock the run was."""
    backends: tuple[BackendInfo, ...] = ()
    """Those that it may have asked, the default one first."""
    limits: tuple[Limits, ...] = ()
    """What each of these allows, and what it costs."""
    max_concurrency: int | None = None
    """The most calls that the run itself had in flight; None is no limit."""
    cost: float | None = None
    """What its answers cost, once it is over; None where a price is not known."""
    budget: Budget | None = None
    """What it cost, where that was limited."""
    stopped: Stopped | None = None
    """Why it was stopped or interrupted; None where it came to its own end, well or badly."""
    max_in_flight: int = 0
    executed: int = 0
    """Operations that ran to an end, well or badly."""
    reused: int = 0
    """Those of them whose answers an earlier process had journaled."""
    failed: int = 0
    skipped: int = 0
    """Operations that never started because something they need failed, or because the run was ended."""

    def __repr__(self) -> str:
        name = shortened_left(self.flow.qualified_name, 30)
        return f"Trace({name!r}, {self.status.value}, executed={self.executed}, failed={self.failed})"

    @property
    def duration(self) -> int:
        return self.ended - self.started

    @cached_property
    def operations(self) -> list[OperationRecord]:
        """Those that waited, in the order in which they were routed. Read it when the run is over."""
        return list(map(operation_record, self.raw))

    @property
    def attempts(self) -> int:
        """How many there were, of all operations."""
        return sum(len(raw[5]) + 1 for raw in self.raw)

    def path_of(self, frame: int, node: int) -> str:
        """The stable path of a node, as `program.unfolding.path_of` gives it."""
        return path_of(self.program, self.frames, frame, node)

    def place_of(self, frame: int, node: int) -> str:
        """``file:line:column`` of a node."""
        line, column = self.position_of(frame, node)
        return f"{self.program.names.file_of(self.frames[frame].plan)}:{line}:{column}"

    def position_of(self, frame: int, node: int) -> tuple[int, int]:
        """Line and column of a node in its file, from 1."""
        name = self.program.names.plans[self.frames[frame].plan].nodes[node]
        return name.line, name.column

    def operation_of(self, frame: int, node: int) -> str:
        """The name of the operation at a node."""
        found = self.program.plans[self.frames[frame].plan].nodes[node]
        assert isinstance(found, Operate)
        return found.operation
