"""Limits by the minute, kept exactly: of the last minute each request is remembered with what it cost.

A bucket that refills would let twice the limit into some minute. What counts is when requests arrive at the endpoint,
and the way there takes now less, now more time. So the minute is longer by a guard, and where an endpoint says how long
it worked, a request counts from when it was there at the latest.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

MINUTE_NS = 60_000_000_000
GUARD_PERCENT = 2


class Expense(Struct, eq=False):
    """What one request cost."""

    at: int
    """When it was granted; or, once that is known, by when it had arrived."""
    amount: int
    forgotten: bool = False


class Window:
    """Amounts of the last `window_ns`, which together stay within `limit`."""

    def __init__(self, limit: int, window_ns: int = MINUTE_NS) -> None:
        self._limit = limit
        self._span = window_ns + window_ns * GUARD_PERCENT // 100
        self._log: deque[Expense] = deque()
        """The expenses in the order in which they were granted: one that arrived late keeps those behind it."""
        self._used = 0

    def free_at(self, amount: int, now: int) -> int:
        """When `amount` fits; `now` where it does already. What is more than the whole limit has a window to itself."""
        log = self._log
        while log and log[0].at + self._span <= now:
            spent = log.popleft()
            spent.forgotten = True
            self._used -= spent.amount
        missing = self._used + amount - self._limit
        at = now
        for spent in log:
            if missing <= 0:
                break
            missing -= spent.amount
            at = max(at, spent.at + self._span)
        return at

    def spend(self, amount: int, now: int) -> Expense:
        spent = Expense(now, amount)
        self._log.append(spent)
        self._used += amount
        return spent

    def settle(self, spent: Expense, amount: int) -> None:
        """It cost `amount` after all."""
        if not spent.forgotten:
            self._used += amount - spent.amount
            spent.amount = amount
