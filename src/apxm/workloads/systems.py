"""What is compared: something that runs the workload at a given width and says what its calls took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from apxm.errors import ApxmError
from apxm.runtime.trace import Trace


class WorkloadFailed(ApxmError):  # noqa: N818  # it tells of a run, not of a mistake of the caller
    """A run of a workload failed; a comparison of runs that did other work would compare nothing."""


class TimedCall(NamedTuple):
    """One model call as its caller saw it, in ns on one clock."""

    sent: int
    received: int


@dataclass(frozen=True)
class Sample:
    """One run of one system."""

    duration: int
    """How long it took in ns, from a compiled program to its result."""
    calls: tuple[TimedCall, ...]
    result: str
    trace: Trace | None = None
    """What A-PXM recorded; other systems record nothing."""

    @property
    def latency(self) -> float:
        """The mean of its calls, in ns."""
        return sum(call.received - call.sent for call in self.calls) / len(self.calls)


class System(Protocol):
    @property
    def name(self) -> str: ...

    async def run(self, width: int) -> Sample:
        """Runs the workload once. Raises `WorkloadFailed`."""
        ...

    async def close(self) -> None: ...


def most_in_flight(calls: Iterable[TimedCall]) -> int:
    """The largest number of calls that were under way at one moment; one that ends as another begins is over."""
    events = sorted(event for call in calls for event in ((call.received, -1), (call.sent, 1)))
    most = now = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most
