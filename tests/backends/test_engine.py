"""An engine with continuous batching: exact instants, and a second one that makes each iteration by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.batching import Batching, Served
from apxm.backends.engine import BLOCK, Costs, Engine, EngineCall, Tokens
from apxm.backends.protocol import Handle
from tests.backends.clock import FakeClock

EVERYTHING = Costs(fixed=5, step=12, prefill=2, decode=3, slots=2, chunk=10)


def ends(costs: Costs, calls: Sequence[tuple[int, Tokens]]) -> list[tuple[int | None, int | None]]:
    """First token and end of calls that are sent at these instants."""
    engine = Engine(costs)
    made = [engine.add(tokens, sent) for sent, tokens in calls]
    engine.advance(None)
    return [(call.first, call.over) for call in made]


def test_a_call_alone_takes_its_fixed_part_its_prompt_and_each_further_token() -> None:
    costs = Costs(fixed=5, step=12, prefill=2, decode=3)
    assert ends(costs, [(100, Tokens(50, 4))]) == [(100 + 5 + 12 + 100, 100 + 5 + 12 + 100 + 3 * (12 + 3))]


def test_in_chunks_each_iteration_of_a_prompt_takes_a_step() -> None:
    """25 tokens by 10: three iterations."""
    assert ends(Costs(fixed=0, step=12, prefill=2, decode=3, chunk=10), [(0, Tokens(25, 1))]) == [(86, 86)]


def test_a_prompt_holds_up_the_answers_that_are_under_way() -> None:
    """The second comes in the iteration from 31 to 37, and is read in the next one, which takes 1 + 20 + 5."""
    costs = Costs(fixed=0, step=1, prefill=1, decode=5)
    assert ends(costs, [(0, Tokens(30, 5)), (32, Tokens(20, 1))]) == [(31, 37 + 26 + 6 + 6), (63, 63)]


def test_in_chunks_a_prompt_holds_up_the_answers_less() -> None:
    """It is read in two iterations of 1 + 10 + 5, in each of which the first call gets a token."""
    costs = Costs(fixed=0, step=1, prefill=1, decode=5, chunk=10)
    first, second = ends(costs, [(0, Tokens(10, 5)), (12, Tokens(20, 1))])
    assert (first, second) == ((11, 17 + 16 + 16 + 6), (49, 49))


def test_with_one_slot_calls_are_served_one_after_the_other() -> None:
    costs = Costs(fixed=3, step=1, prefill=1, decode=2, slots=1)
    alone = 1 + 10 + 2 * 3
    assert [over for _, over in ends(costs, [(0, Tokens(10, 3))] * 4)] == [3 + k * alone for k in (1, 2, 3, 4)]


def test_who_waits_is_admitted_in_the_order_of_arrival_as_slots_are_given_back() -> None:
    costs = Costs(fixed=0, step=10, prefill=0, decode=0, slots=2)
    found = ends(costs, [(0, Tokens(1, 5)), (0, Tokens(1, 2)), (0, Tokens(1, 2)), (0, Tokens(1, 1))])
    assert [over for _, over in found] == [50, 20, 40, 50]


def test_a_beginning_that_was_read_before_is_not_read_again() -> None:
    costs = Costs(fixed=0, step=0, prefill=1, decode=0, cache=True)
    first, longer, other = "ab", "abc", "xbc"
    calls = [(100 * i, Tokens(BLOCK * len(text), 1, text)) for i, text in enumerate((first, longer, other, first))]
    assert [over - sent for (sent, _), (_, over) in zip(calls, ends(costs, calls), strict=True) if over] == [
        2 * BLOCK,
        BLOCK,
        3 * BLOCK,
        1,  # the last token of a prompt is always read
    ]


def test_equal_prompts_that_are_read_together_are_all_read() -> None:
    costs = Costs(fixed=0, step=0, prefill=1, decode=0, cache=True)
    assert ends(costs, [(0, Tokens(BLOCK, 1, "a"))] * 2) == [(2 * BLOCK, 2 * BLOCK)] * 2


def test_a_thousand_calls_of_a_thousand_tokens_are_a_few_events_each() -> None:
    class Counted(Engine):
        events = 0

        def _work(self, each: int, iterations: int) -> None:
            self.events += 1
            super()._work(each, iterations)

    engine = Counted(Costs(fixed=5, step=12, prefill=2, decode=3, slots=8, chunk=10))
    for i in range(1000):
        engine.add(Tokens(1000 + i, 1000 + i), 0)
    engine.advance(None)
    assert engine.events < 4000


# --- the second engine ---------------------------------------------------------------------------------------------


@dataclass
class Slow:
    """A call at the second engine."""

    sent: int
    tokens: Tokens
    ratio: Fraction
    unread: int = 0
    said: int = 0
    first: Fraction | None = None
    over: Fraction | None = None
    cached: int = 0


@dataclass
class SlowEngine:
    """The engine of the first page of `engine.py`, iteration by iteration."""

    costs: Costs
    calls: list[Slow]
    read: list[Sequence[object]] = field(default_factory=list[Sequence[object]])

    def run(self) -> None:
        waiting = sorted(self.calls, key=lambda call: call.sent + self.costs.fixed)
        running: list[Slow] = []
        now = Fraction(0)
        while waiting or running:
            if not running:
                now = max(now, waiting[0].sent + self.costs.fixed)
            while waiting and (self.costs.slots is None or len(running) < self.costs.slots):
                call = waiting[0]
                if call.sent + self.costs.fixed > now:
                    break
                call.cached = self._cached(call.tokens) if self.costs.cache else 0
                call.unread = call.tokens.prompt - call.cached
                running.append(waiting.pop(0))
            now += self._iterate(running, now)
            running = [call for call in running if call.over is None]

    def _iterate(self, running: list[Slow], now: Fraction) -> Fraction:
        """Makes one iteration, and says how long it takes."""
        took = Fraction(self.costs.step)
        room = self.costs.chunk if self.costs.chunk is not None else 10**9
        got: list[Slow] = []
        for call in running:
            if call.first is not None:
                took += call.ratio * self.costs.decode
                got.append(call)
                continue
            read = min(room, call.unread)
            room -= read
            call.unread -= read
            took += call.ratio * self.costs.prefill * read
            if not call.unread and (read or room):
                got.append(call)
        for call in got:
            call.said += 1
            if call.first is None:
                call.first = now + took
                self.read.append(call.tokens.blocks)
            if call.said >= call.tokens.answer:
                call.over = now + took
        return took

    def _cached(self, tokens: Tokens) -> int:
        common = 0
        for blocks in self.read:
            length = 0
            for a, b in zip(blocks, tokens.blocks, strict=False):
                if a != b:
                    break
                length += 1
            common = max(common, length)
        return max(0, min(common * BLOCK, tokens.prompt - 1))


def any_case(seed: int) -> tuple[Costs, list[tuple[int, Tokens, int]]]:
    """An engine, and calls: when each is sent, what it asks, and how many times the engine's costs it costs."""
    random = Random(seed)
    costs = Costs(
        fixed=random.randint(0, 30),
        step=random.randint(1, 20),
        prefill=random.randint(0, 5),
        decode=random.randint(0, 5),
        slots=random.choice([None, 1, 2, 3]),
        chunk=random.choice([None, 1, 7, 20, 40]),
        cache=random.random() < 0.5,
    )
    within = random.choice([0, 5, 100, 400])
    calls = [
        (random.randint(0, within), any_tokens(random), random.choice([1, 2, 3])) for _ in range(random.randint(1, 9))
    ]
    return costs, sorted(calls, key=lambda call: call[0])


def any_tokens(random: Random) -> Tokens:
    blocks = "".join(random.choice("ab") for _ in range(random.randint(0, 4)))
    return Tokens(BLOCK * len(blocks) + random.randint(1, BLOCK - 1), random.randint(0, 30), blocks)


seeds = st.integers(0, 1 << 32)


def both(costs: Costs, calls: Sequence[tuple[int, Tokens, int]]) -> tuple[list[EngineCall], list[Slow]]:
    engine = Engine(costs)
    made = [engine.add(tokens, sent, ratio) for sent, tokens, ratio in calls]
    engine.advance(None)
    slow = SlowEngine(costs, [Slow(sent, tokens, Fraction(ratio)) for sent, tokens, ratio in calls])
    slow.run()
    return made, slow.calls


@given(seeds)
def test_it_does_what_an_engine_does_that_makes_each_iteration_by_itself(seed: int) -> None:
    made, slow = both(*any_case(seed))
    assert [(call.first, call.over, call.cached) for call in made] == [
        (other.first, other.over, other.cached) for other in slow
    ]


@given(seeds)
def test_when_it_is_looked_at_changes_nothing(seed: int) -> None:
    costs, calls = any_case(seed)
    made, _ = both(costs, calls)
    engine = Engine(costs)
    found: list[EngineCall] = []
    looks = [(Random(seed + k).randint(0, 2000), -1) for k in range(20)]
    for now, i in sorted([*looks, *((sent, i) for i, (sent, _, _) in enumerate(calls))]):
        engine.advance(now)
        if i >= 0:
            found.append(engine.add(calls[i][1], now, calls[i][2], watched=i % 2 == 0))
    engine.advance(None)
    assert [(call.first, call.over) for call in found] == [(call.first, call.over) for call in made]
    assert engine.load == 0


@given(seeds)
def test_a_busy_engine_works_all_the_time_and_serves_in_the_order_of_arrival(seed: int) -> None:
    costs, calls = any_case(seed)
    made, _ = both(costs, [(0, tokens, 1) for _, tokens, _ in calls])
    firsts = [call.first or 0 for call in made]
    assert firsts == sorted(firsts)
    read = sum(call.prompt - call.cached for call in made) * costs.prefill
    said = sum(max(0, call.answer - 1) for call in made) * costs.decode
    steps = max(call.over or 0 for call in made) - costs.fixed - read - said
    assert steps > 0
    assert steps % costs.step == 0


@given(seeds)
def test_one_more_call_never_makes_an_engine_quicker_that_reads_whole_prompts(seed: int) -> None:
    costs, calls = any_case(seed)
    costs = replace(costs, chunk=None, cache=False)
    together = [(0, tokens, 1) for _, tokens, _ in calls]
    before = max(call.over or 0 for call in both(costs, together)[0])
    after = max(call.over or 0 for call in both(costs, [*together, (0, any_tokens(Random(seed)), 1)])[0])
    assert after >= before


# --- on a clock ----------------------------------------------------------------------------------------------------


class Station:
    """An engine with a clock, and what ended when."""

    def __init__(self, costs: Costs) -> None:
        self.clock = FakeClock()
        self.batching = Batching(costs)
        self.ended: dict[str, int] = {}
        self.tokens: dict[str, list[int]] = {}

    def begin(
        self, name: str, tokens: Tokens, *, watched: bool = False, then: Callable[[], object] | None = None
    ) -> Handle:
        def done(served: Served) -> None:
            assert name not in self.ended
            self.ended[name] = self.clock.now()
            assert served.took <= self.clock.now()
            if then:
                then()

        def told() -> None:
            self.tokens.setdefault(name, []).append(self.clock.now())

        return self.batching.begin(tokens, self.clock, done, told=told if watched else None)

    def run(self) -> dict[str, int]:
        self.clock.run()
        return self.ended


def test_on_a_clock_calls_end_when_the_engine_says() -> None:
    station = Station(EVERYTHING)
    for name in "abcd":
        station.begin(name, Tokens(25, 6))
    expected = [over for _, over in ends(EVERYTHING, [(0, Tokens(25, 6))] * 4)]
    assert list(station.run().values()) == sorted(expected, key=lambda over: over or 0)
    assert station.clock.armed == 0


def test_who_waits_for_each_token_is_told_when_it_is_there() -> None:
    station = Station(Costs(fixed=5, step=10, prefill=1, decode=0))
    station.begin("a", Tokens(7, 4), watched=True)
    station.begin("b", Tokens(3, 9))
    assert station.run() == {"a": 55, "b": 105}
    assert station.tokens == {"a": [25, 35, 45]}


def test_a_call_that_is_given_up_leaves_with_the_iteration_under_way() -> None:
    """At 12 it is in the iteration from 10 to 22; from then on one of 11 is left."""
    station = Station(Costs(fixed=0, step=8, prefill=1, decode=3))
    station.begin("a", Tokens(1, 4))
    gone = station.begin("b", Tokens(1, 40))
    station.clock.at(12)
    gone.cancel()
    gone.cancel()
    assert station.batching.load == 1
    assert station.run() == {"a": 10 + 14 + 11 + 11}


def test_a_call_that_is_given_up_before_it_is_served_never_is() -> None:
    station = Station(Costs(fixed=0, step=10, prefill=0, decode=0, slots=1))
    station.begin("a", Tokens(1, 2))
    station.begin("b", Tokens(1, 5)).cancel()
    station.begin("c", Tokens(1, 1))
    assert station.run() == {"a": 20, "c": 30}


def test_an_engine_that_all_have_left_begins_anew_on_another_clock() -> None:
    station = Station(EVERYTHING)
    call = station.begin("a", Tokens(100, 100))
    station.clock.at(1000)
    call.cancel()
    assert station.clock.armed == 0
    station.clock = FakeClock(7)
    station.begin("b", Tokens(10, 2))
    assert station.run() == {"b": 7 + 5 + 12 + 20 + 15}


def test_a_report_may_begin_the_next_call_and_a_late_timer_reports_late() -> None:
    station = Station(Costs(fixed=0, step=10, prefill=0, decode=0))
    station.begin("a", Tokens(1, 2), then=lambda: station.begin("b", Tokens(1, 3)))
    station.clock.at(100)
    assert station.ended == {"a": 100}
    assert station.run() == {"a": 100, "b": 130}


@pytest.mark.parametrize("cancelled", range(4))
def test_whoever_is_given_up_whenever_the_others_are_answered(cancelled: int) -> None:
    for when in range(0, 140, 7):
        station = Station(EVERYTHING)
        calls = [station.begin(name, Tokens(15, 4), watched=name == "b") for name in "abcd"]
        station.clock.at(when)
        calls[cancelled].cancel()
        assert {*station.run()} >= {*"abcd"} - {"abcd"[cancelled]}
        assert station.batching.load == 0
        assert station.clock.armed == 0
