"""Other rules for how many calls are in flight, with the events of `AdaptiveLimit`: what that is compared with."""

from __future__ import annotations

SECOND_NS = 1_000_000_000


class FixedLimit:
    """As many as somebody has configured."""

    refuses_all = False

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def wanted(self, calls: int) -> None: ...

    def began(self, now: int) -> None: ...

    def ended(self, now: int) -> None: ...

    def answered(self, latency: int, now: int, *, waiting: bool) -> None: ...

    def refused(self, granted: int, now: int) -> None: ...


class InspectRule(FixedLimit):
    """What inspect_ai 0.3.285 does with `--adaptive-connections`, written anew from its documentation and code.

    It begins with 20. A round is as many answers in a row as the limit, at least four; after one in which four fifths
    of the limit were in use at some time the limit doubles, and once something was refused it grows by a twentieth.
    A refusal takes a fifth away, at most once in 15 s, in which nothing grows. The limit stays within 4 and 100, and
    is a multiple of five above ten.
    """

    LEAST, START, MOST = 4, 20, 100
    COOL_DOWN_NS = 15 * SECOND_NS

    def __init__(self) -> None:
        super().__init__(self.START)
        self._in_flight = self._most = self._answers = self._quiet_until = 0
        self._refused = False

    def began(self, now: int) -> None:
        del now
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)

    def ended(self, now: int) -> None:
        del now
        self._in_flight -= 1

    def answered(self, latency: int, now: int, *, waiting: bool) -> None:
        del latency, waiting
        self._in_flight -= 1
        if now < self._quiet_until:
            return
        self._answers += 1
        if self._answers < max(self.limit, 4):
            return
        used, self._most, self._answers = self._most, self._in_flight, 0
        if used >= 0.8 * self.limit:
            grown = _fives(self.limit + max(1, round(self.limit / 20)), up=True) if self._refused else self.limit * 2
            self.limit = min(self.MOST, grown)

    def refused(self, granted: int, now: int) -> None:
        del granted
        self._in_flight -= 1
        self._answers, self._most, self._refused = 0, self._in_flight, True
        if now >= self._quiet_until:
            self._quiet_until = now + self.COOL_DOWN_NS
            self.limit = max(self.LEAST, _fives(int(self.limit * 0.8), up=False))


def _fives(number: int, *, up: bool) -> int:
    return number if number < 10 else (number + 4 * up) // 5 * 5
