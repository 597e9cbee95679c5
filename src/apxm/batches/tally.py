"""How far a batch is, what it used, and what is to come."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from apxm.batches.rows import Source
from apxm.runtime.budget import Cost, money
from apxm.runtime.stopped import Stopped
from apxm.runtime.trace import Trace


class RunSummary(Struct, frozen=True):
    """What is told of a run beside what came of it."""

    calls: int
    """Attempts of calls of models and tools."""
    tokens: int
    cost: float | None
    """None where it is not known."""
    printed: list[str]
    stopped: Stopped | None = None
    """Why it ended before its end, by a limit for instance."""

    @classmethod
    def of(cls, trace: Trace) -> RunSummary:
        tokens = sum(attempt.usage.total or 0 for each in trace.operations for attempt in each.attempts)
        cost = trace.cost if trace.cost is not None or trace.raw else 0.0
        return cls(trace.attempts, tokens, cost, trace.printed, trace.stopped)


class Tally:
    """Numbers of one process, but for `kept` and `kept_failed`."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._began = now()
        self.fetched = 0
        """Rows of the part of the input that was read, which is some way ahead."""
        self.read = 0
        """Those of them that were looked at."""
        self.kept = 0
        """Inputs that earlier processes finished."""
        self.kept_failed = 0
        """Those of them that failed."""
        self.succeeded = 0
        self.failed = 0
        self.uncovered = 0
        """Inputs that were begun, and that a budget did not cover to their end."""
        self.unwritten = 0
        """Those of the last two that are not in the output, as it takes no more."""
        self.open = 0
        """Inputs that are begun and not over."""
        self.calls = 0
        """Attempts of calls of models and tools."""
        self.tokens = 0
        self.cost = 0.0
        self.is_priced = True
        """Whether all that was paid for has a known price."""
        self.whole: int | None = None
        """How many rows there are, once that is known."""
        self.kinds: dict[str, int] = {}
        """How many inputs failed, by the kind of their failure."""

    def begin(self) -> None:
        """Whoever does the inputs is there now: what that took is no part of their time."""
        self._began = self._now()

    @property
    def done(self) -> int:
        return self.succeeded + self.failed

    @property
    def seconds(self) -> float:
        return self._now() - self._began

    @property
    def rate(self) -> float:
        """Inputs a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def used(self) -> Cost:
        return Cost(self.tokens, money(self.cost))

    def count(self, run: RunSummary) -> None:
        """What a run used."""
        self.calls += run.calls
        self.tokens += run.tokens
        if run.cost is None:
            self.is_priced = False
        else:
            self.cost += run.cost

    def fail(self, kind: str) -> None:
        self.failed += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def left(self, source: Source, limit: int | None = None) -> float | None:
        """About how many inputs are not over yet; None where nobody knows how large the input is."""
        if self.whole is not None:
            rows: float = self.whole
        elif source.size and source.position:
            rows = self.fetched * max(1.0, source.size / source.position)
        elif limit is not None:
            rows = limit
        else:
            return None
        rows = rows if limit is None else min(rows, limit)
        return max(0.0, rows - self.kept - self.done)
