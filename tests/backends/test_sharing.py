"""Processor sharing, with exact instants on a clock that tests move."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.sharing import ProcessorSharing, SharedCall
from apxm.backends.slowdown import parse_slowdown
from tests.backends.clock import FakeClock

S = 1_000_000_000


class Station:
    """A shared processor with a clock, and what ended when."""

    def __init__(self, slowdown: str, start: int = 0) -> None:
        self.clock = FakeClock(start)
        self.sharing = ProcessorSharing(parse_slowdown(slowdown))
        self.ended: dict[str, int] = {}
        self.took: dict[str, int] = {}

    def begin(self, name: str, work: int) -> SharedCall:
        def done(took: int) -> None:
            assert name not in self.ended
            self.ended[name] = self.clock.now()
            self.took[name] = took

        return self.sharing.begin(work, self.clock, done)

    def run(self) -> dict[str, int]:
        self.clock.run()
        return self.ended


def test_alone_or_without_slowdown_a_call_takes_its_work_to_the_nanosecond() -> None:
    station = Station("none", start=123)
    for name in "abc":
        station.begin(name, S)
    assert station.run() == dict.fromkeys("abc", 123 + S)


@pytest.mark.parametrize(
    ("slowdown", "expected"),
    [("curve:1=1,8=3.2", 3_200_000_000), ("usl:0.05,0.0001", 1_355_600_000), ("usl:1,0", 8 * S)],
)
def test_calls_begun_together_end_together_at_work_times_slowdown(slowdown: str, expected: int) -> None:
    station = Station(slowdown)
    for i in range(8):
        station.begin(str(i), S)
    assert set(station.run().values()) == {expected}


def test_a_later_call_slows_the_one_before_only_while_both_are_in_flight() -> None:
    """s(2) = 2: at 0.5 s half of a is done; its rest takes 1 s at half speed; then b, alone, has 0.5 s left."""
    station = Station("curve:1=1,2=2")
    station.begin("a", S)
    station.clock.at(S // 2)
    station.begin("b", S)
    assert station.run() == {"a": 3 * S // 2, "b": 2 * S}
    assert station.took == {"a": 3 * S // 2, "b": 3 * S // 2}


def test_cancelling_takes_the_load_away_at_once() -> None:
    station = Station("curve:1=1,2=2")
    station.begin("a", S)
    gone = station.begin("b", 5 * S)
    station.clock.at(S)  # half of a is done
    gone.cancel()
    assert station.sharing.load == 1
    assert station.run() == {"a": 3 * S // 2}


def test_a_late_timer_reports_late_but_the_load_ended_in_time() -> None:
    """Both should end at 2 s and 3 s; the clock gets its next turn at 10 s."""
    station = Station("curve:1=1,2=2")
    station.begin("a", S)
    station.begin("b", 2 * S)
    station.clock.at(10 * S)
    assert station.took == {"a": 2 * S, "b": 3 * S}


def test_a_call_that_is_over_but_not_yet_reported_is_never_reported_from_inside_begin() -> None:
    station = Station("none")
    station.begin("a", S)
    station.clock.time = 2 * S  # its timer is due, and has not had its turn
    station.begin("b", S)
    assert station.ended == {}
    assert station.sharing.load == 1
    station.clock.run()
    assert station.ended == {"a": 2 * S, "b": 3 * S}


def test_a_call_that_is_over_can_still_be_cancelled_until_it_is_reported() -> None:
    station = Station("none")
    call = station.begin("a", S)
    station.begin("b", S)
    station.clock.time = 2 * S
    call.cancel()
    call.cancel()
    assert station.run() == {"b": 2 * S}


def test_a_report_may_cancel_the_call_that_would_be_reported_next() -> None:
    station = Station("none")
    calls: list[SharedCall] = []
    station.sharing.begin(S, station.clock, lambda _: calls[0].cancel())
    calls.append(station.begin("b", S))
    assert station.run() == {}
    assert station.clock.armed == 0


def test_a_report_may_begin_the_next_call() -> None:
    station = Station("none")
    station.sharing.begin(S, station.clock, lambda _: station.begin("next", S) and None)
    assert station.run() == {"next": 2 * S}


def test_work_of_nothing_ends_at_the_same_instant_but_not_inside_begin() -> None:
    station = Station("usl:1,1", start=5)
    station.begin("a", 0)
    assert station.ended == {}
    assert station.run() == {"a": 5}


def test_cancelling_all_leaves_no_timer_and_the_next_clock_may_start_anywhere() -> None:
    station = Station("none", start=S)
    station.begin("a", S).cancel()
    assert station.clock.armed == 0
    station.clock = FakeClock()
    station.begin("b", S)
    assert station.run() == {"b": S}


def test_many_cancelled_calls_do_not_pile_up() -> None:
    station = Station("none")
    station.begin("a", S)
    for i in range(1000):
        station.begin(str(i), 1000 * S).cancel()
    assert len(station.sharing._heap) < 10
    assert station.run() == {"a": S}


def test_a_thousand_calls_need_one_timer_at_a_time() -> None:
    station = Station("usl:0.05,0")
    for i in range(1000):
        station.begin(str(i), S)
    assert station.clock.armed == 1
    station.run()
    assert station.clock.fired < 5


SLOWDOWNS = ["none", "usl:0.07,0.003", "usl:1,0", "curve:1=1,2=1.3,3=3.7", "curve:1=1,7=1.1"]
arrivals = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), min_size=1, max_size=10)


def exact(slowdown: str, calls: list[tuple[int, int]]) -> list[Fraction]:
    """The same by definition, in fractions: every call in flight loses dt/s(c) of its work."""
    s = parse_slowdown(slowdown)
    left = {i: Fraction(work) for i, (_, work) in enumerate(calls)}
    ended: dict[int, Fraction] = {}
    now = Fraction(0)
    while len(ended) < len(calls):
        flying = [i for i in left if i not in ended and calls[i][0] <= now]
        to_come = [Fraction(at) for at, _ in calls if at > now]
        if over := [i for i in flying if left[i] == 0]:
            ended |= dict.fromkeys(over, now)
            continue
        rate = 1 / s.factor(len(flying)) if flying else Fraction(1)
        step = min([left[i] / rate for i in flying] + [at - now for at in to_come])
        for i in flying:
            left[i] -= step * rate
        now += step
    return [ended[i] for i in range(len(calls))]


@given(st.sampled_from(SLOWDOWNS), arrivals)
def test_it_agrees_with_the_definition_never_early_and_late_by_rounding_only(
    slowdown: str, calls: list[tuple[int, int]]
) -> None:
    station = Station(slowdown)
    scale = 1_000_003  # so that fractions of a nanosecond occur
    scaled = [(at * scale, work * scale) for at, work in calls]
    for index, (at, work) in sorted(enumerate(scaled), key=lambda entry: entry[1][0]):
        if at > station.clock.now():
            _run_until(station.clock, at)
        station.begin(str(index), work)
    station.run()
    for index, expected in enumerate(exact(slowdown, scaled)):
        assert expected <= station.ended[str(index)] <= expected + len(calls) + 1


@given(st.sampled_from(SLOWDOWNS), st.lists(st.integers(0, 100), min_size=1, max_size=9), st.randoms())
def test_the_order_of_calls_begun_at_one_instant_does_not_matter(
    slowdown: str, works: list[int], shuffler: random.Random
) -> None:
    def run(order: list[int]) -> list[int]:
        station = Station(slowdown)
        for index in order:
            station.begin(str(index), works[index] * S // 7)
        station.run()
        return [station.ended[str(i)] for i in range(len(works))]

    order = list(range(len(works)))
    shuffled = list(order)
    shuffler.shuffle(shuffled)
    assert run(order) == run(shuffled)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20))
def test_work_is_conserved_where_a_plain_queue_and_sharing_agree(works: list[int]) -> None:
    """With s(c) = c the processor does one second of work a second, whoever it is for."""
    station = Station("usl:1,0")
    for index, work in enumerate(works):
        station.begin(str(index), work * S)
    assert max(station.run().values()) == sum(works) * S


def _run_until(clock: FakeClock, when: int) -> None:
    marks: list[int] = []
    clock.call_at(when, lambda: marks.append(when))
    while not marks:
        clock.at(max(clock.time, clock._timers[0][0]))
