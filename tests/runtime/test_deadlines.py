"""Time limits of attempts, on a clock that stands still until it is moved."""

from __future__ import annotations

from apxm.runtime.deadlines import Deadlines
from apxm.runtime.phases import SENT, STARTING
from apxm.runtime.waiting import Call
from tests.calls import ManualClock, Tool, call_of

TOOL = Tool()


def attempt(sent: int | None = 0, limit: int | None = 1000) -> Call:
    """One that is in flight since `sent`; where that is None it has its slots, and was not sent yet."""
    call = call_of(TOOL)
    call.phase = STARTING
    call.limit = limit
    if sent is not None:
        call.phase, call.sent = SENT, sent
    return call


def test_deadlines_keep_one_timer_per_limit_and_forget_what_is_over() -> None:
    clock = ManualClock()
    expired: list[tuple[int, Call]] = []
    deadlines = Deadlines(clock, lambda call: expired.append((clock.now(), call)))
    first, second, third, unlimited = attempt(), attempt(), attempt(sent=400), attempt(limit=None)
    for call in (first, second, unlimited):
        deadlines.add(call)
    clock.move(400)
    deadlines.add(third)
    deadlines.remove(second)
    assert list(deadlines) == [unlimited, first, third]
    assert clock.timers == [1000]
    clock.move(10_000)
    assert expired == [(1000, first), (1400, third)]
    assert list(deadlines) == [unlimited]


def test_the_time_of_an_attempt_counts_from_when_it_was_sent() -> None:
    clock = ManualClock()
    expired: list[int] = []
    deadlines = Deadlines(clock, lambda _: expired.append(clock.now()))
    call = attempt(sent=None)
    deadlines.add(call)
    clock.move(1200)
    call.phase, call.sent = SENT, 1200
    clock.move(10_000)
    assert expired == [2200]


def test_an_attempt_whose_time_is_over_may_end_others_in_its_wake() -> None:
    clock = ManualClock()
    expired: list[Call] = []

    def expire(call: Call) -> None:
        expired.append(call)
        deadlines.clear()
        deadlines.add(attempt(sent=1000))

    deadlines = Deadlines(clock, expire)
    first, second = attempt(), attempt()
    for call in (first, second):
        deadlines.add(call)
    clock.move(1500)
    assert expired == [first]
    deadlines.clear()
    clock.move(10_000)
    assert expired == [first]
