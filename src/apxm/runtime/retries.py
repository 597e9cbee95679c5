"""When a failed attempt is made again: after a pause that grows, and only as often as the process can afford."""

from __future__ import annotations

import threading
from collections.abc import Collection
from random import Random

from apxm.forks import tell_of_forks
from apxm.runtime.gates import Gate

FIRST_PAUSE_NS = 500_000_000
LONGEST_PAUSE_NS = 30_000_000_000
SHORT_PAUSE_NS = 500_000_000
"""The pause where nobody listens: nobody is to be spared, and who waits for a server to start wants to go on soon."""
LONGEST_RETRY_AFTER_S = 600.0
"""An endpoint that asks for more is not asked again: nobody sits before a run for so long."""

RATE_LIMITED = "rate_limited"
"""The kind of an error that says: one call too many."""

SHARE = 0.2
"""The part of all attempts that may be retries, besides `FLOOR` and `PER_SECOND`."""
FLOOR = 100
"""The retries that are allowed however few attempts there were."""
PER_SECOND = 1
"""The retries that are allowed in each second, so that none waits for ever."""


def pause_ns(earlier: int, random: Random) -> int:
    """How long to wait after the attempt behind `earlier` others: exponential backoff with full jitter, as AWS's
    architecture blog has it ("Exponential Backoff And Jitter", 2015)."""
    return random.randrange(min(LONGEST_PAUSE_NS, FIRST_PAUSE_NS << min(earlier, 16)))


class RetryBudget:
    """What the runs of a process may spend on retries: so a failing endpoint does not get several times the load."""

    def __init__(self, gates: Collection[Gate]) -> None:
        self._gates = gates
        self.forked()
        tell_of_forks(self)

    def forked(self) -> None:
        self._lock = threading.Lock()
        self._left: float = FLOOR
        self._attempts = 0
        self._at = 0

    def take(self, now: int) -> int:
        """0 where a retry may be made now, else how many ns to wait before asking again."""
        with self._lock:
            attempts = sum(gate.answered + gate.failed for gate in self._gates)
            earned = SHARE * (attempts - self._attempts) + PER_SECOND * (now - self._at) / 1e9
            self._left = min(FLOOR, self._left + earned)
            self._attempts, self._at = attempts, now
            if self._left >= 1:
                self._left -= 1
                return 0
            return round((1 - self._left) / PER_SECOND * 1e9) + 1
