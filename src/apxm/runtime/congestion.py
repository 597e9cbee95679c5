"""How many calls in flight an endpoint bears that refuses some with 429 and does not say where its limit is.

As TCP finds the capacity of a path: halve what was in flight at a refusal, then add one with each round of answers;
where nobody knows how many were in flight, begin with one and double it (additive increase, multiplicative decrease and
slow start: Jacobson, "Congestion Avoidance and Control", 1988).
"""

from __future__ import annotations


class Congestion:
    def __init__(self) -> None:
        self._window: float | None = None
        """None until something was refused, and again when the calls there are need no limit."""
        self._threshold: float | None = None
        """Below it the window doubles with each round; None where nobody knows one yet."""
        self._adjusted = 0

    @property
    def limit(self) -> int | None:
        """Most calls in flight."""
        return None if self._window is None else int(self._window)

    def refused(self, granted: int, now: int, in_flight: int) -> None:
        """A call that was granted at `granted` was refused, while so many were known to be in flight, it included.
        Those that were sent with it tell nothing new."""
        if self._window is not None and granted < self._adjusted:
            return
        self._adjusted = now
        if self._window is None and in_flight <= 1:
            self._window = 1.0
        else:
            self._window = self._threshold = max(1.0, min(self._window or in_flight, in_flight) / 2)

    def answered(self, in_flight: int, waiting: bool) -> None:
        """A call was answered, while so many were in flight, it included."""
        if self._window is None:
            return
        if not waiting and in_flight * 2 <= self._window:
            self._window = self._threshold = None
        elif self._threshold is None or self._window < self._threshold:
            self._window += 1
        else:
            self._window += 1 / self._window
