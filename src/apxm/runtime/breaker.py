"""A circuit breaker: an endpoint that answers nothing is left alone for a while, and then asked by one call only.

After Nygard, "Release It!" (2007).
"""

from __future__ import annotations

from apxm.errors import BackendError

TRIP = 20
"""Failures in a row, without an answer between them, after which the endpoint is taken to be down."""
FIRST_COOL_DOWN_NS = 1_000_000_000
LONGEST_COOL_DOWN_NS = 30_000_000_000
SHORT_COOL_DOWN_NS = 500_000_000
"""Where nobody listens: a server that is starting is found soon, and nobody is burdened."""
PROBES = 6
"""The single calls in vain after which nobody waits for the endpoint any more until the next cool-down is over."""


class Breaker:
    def __init__(self) -> None:
        self.down = False
        self.probing = False
        """Whether the one call that may find out is in flight."""
        self.closed_until = 0
        self.why: BackendError | None = None
        """The last failure."""
        self.in_a_row = 0
        self._answered = 0
        self._since = 0
        self._probes = 0
        self._first = 0
        """When the last failures, no long time between them, began."""
        self._last = 0

    @property
    def hopeless(self) -> bool:
        return self.down and self._probes >= PROBES

    def broke(self, error: BackendError, answered: int, granted: int, now: int, *, hurried: bool = False) -> None:
        """An attempt that began at `granted` had no answer; `answered` is how many others ever had one. `hurried` says
        that who calls has no more patience than the error asks for: when that is over nobody waits any more."""
        patience = round((error.patience_s or 0.0) * 1e9)
        if answered != self._answered or now - self._last > patience:
            self._first = now
        self._last = now
        if answered != self._answered:
            self._answered, self.in_a_row = answered, 0
        self.in_a_row += 1
        self.why = error
        if not self.down:
            if self.in_a_row < TRIP:
                return
            self.down, self._probes = True, 0
        elif granted < self._since:
            return  # it was in flight already
        else:
            self._probes += 1
        self._since = now
        self.closed_until = now + min(LONGEST_COOL_DOWN_NS, FIRST_COOL_DOWN_NS << min(self._probes, 16))
        if hurried:
            over = now - self._first >= patience
            self._probes = PROBES if over else 0
            self.closed_until = now + (FIRST_COOL_DOWN_NS if over else SHORT_COOL_DOWN_NS)

    def recovered(self) -> None:
        """An attempt was answered."""
        self.down = False
        self.closed_until = 0
