"""The calls of a run as a state machine: what happens, and what it leads to. No loop, no thread, no clock that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import pytest

from apxm.backends.protocol import Limits, Usage
from apxm.errors import OperationError
from apxm.runtime.budget import Budget, Cost
from apxm.runtime.calls import Calls
from apxm.runtime.gates import REFUSED, Gate
from apxm.runtime.phases import (
    COMMITTING,
    EXPIRED,
    MOVES,
    OVER,
    PAUSED,
    QUEUED,
    SENT,
    STARTING,
    UNAFFORDABLE,
    Phase,
)
from apxm.runtime.recording import Recorder
from apxm.runtime.trace import FrameRecord, Trace
from apxm.runtime.waiting import Call
from tests.calls import MOVED, ManualClock, Plain, Timer, Told, Tool, call_of
from tests.plans import ask, plan, program

LOST = OperationError("lost", "gone")
NAMES = program(plan(*[ask(str(number)) for number in range(100)]))


class Rows:
    """A recorder whose rows are committed when the test says so."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.waiting: list[Callable[[], object]] = []

    def _row(self, text: str, then: Callable[[], object] | None = None) -> None:
        self.told.append(f"row: {text}")
        if then is not None:
            self.waiting.append(then)

    def reserved(self, path: str, call: Call, then: Any, urgent: bool) -> None:
        del urgent
        self._row(f"{path} reserves {call.worst.tokens}", then)

    def started(self, path: str, call: Call, then: Any, urgent: bool) -> None:
        del call, urgent
        self._row(f"{path} starts", then)

    def settled(self, path: str, call: Call, actual: Cost) -> None:
        del call
        self._row(f"{path} cost {actual.tokens}")

    def received(self, path: str, call: Call, value: Any, usage: Usage, then: Any, urgent: bool) -> None:
        del call, usage, urgent
        self._row(f"{path} is {value}", then)

    def discarded(self, path: str, call: Call, usage: Usage, error: OperationError) -> None:
        del call
        self._row(f"{path} discards {usage.total}: {error.message}")

    def commit(self) -> None:
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()


@dataclass
class Machine:
    """The calls, and around them nothing but what writes down what they do."""

    limit: int | None = None
    budget: Budget | None = None
    journaled: bool = False
    told: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.rows = Rows(self.told)
        self.trace = Trace(NAMES, NAMES.flows[0], started=0, frames=[FrameRecord(0, -1, -1)])
        self.calls = Calls(
            self.clock,
            Told(self.told),
            self.trace,
            limited=self.limit is not None or self.budget is not None,
            max_concurrency=self.limit,
            budget=self.budget,
            recorder=cast(Recorder, self.rows) if self.journaled else None,
            begin=self.begin,
            take=lambda: None,
            rest=lambda: self.told.append("rest"),
            abort=self.abort,
        )

    def abort(self, error: BaseException) -> None:
        raise error

    def begin(self, call: Call) -> None:
        """As `Attempts` does, but that the test ends what begins."""
        self.told.append(f"begin {call.node}")
        call.phase, call.sent = SENT, self.clock.now()
        call.handle = Timer(lambda: self.told.append(f"cancel {call.node}"))

    def add(self, *calls: Call) -> None:
        for call in calls:
            self.calls.add(call)
        self.calls.proceed()

    def news(self) -> list[str]:
        """What it did since this was last asked."""
        told = list(self.told)
        self.told.clear()
        return told

    @property
    def records(self) -> dict[int, list[str]]:
        """The outcomes of the attempts that the trace has, by node."""
        return {record.node: [attempt.outcome for attempt in record.attempts] for record in self.trace.operations}


def gated(name: str = "gated", limits: Limits | None = None, **says: Any) -> Tool:
    """One that takes slots."""
    return Tool(name, gate=Gate(name, limits or Limits()), **says)


def again(*pauses: int) -> Callable[..., int | None]:
    """Tries again after these pauses, one by one, and then no more."""
    left = list(pauses)
    return lambda *_: left.pop(0) if left else None


def test_an_answer_is_delivered_and_then_nothing_is_left() -> None:
    machine, call = Machine(), call_of(Tool())
    machine.add(call)
    assert (machine.news(), call.phase) == (["begin 0"], SENT)
    machine.clock.move(70)
    machine.calls.received(call, "text")
    assert (machine.news(), call.phase) == (["0 succeeds: text", "rest"], OVER)
    [record] = machine.trace.operations
    [attempt] = record.attempts
    assert (record.ready, attempt.granted, attempt.sent, attempt.received, record.routed) == (0, 0, 0, 70, 70)
    assert (attempt.outcome, attempt.first, attempt.slot_from) == ("ok", None, None)


def test_a_failure_is_delivered_and_by_default_never_tried_again() -> None:
    machine, call = Machine(), call_of(Tool())
    machine.add(call)
    machine.calls.received(call, LOST)
    assert machine.news() == ["begin 0", "0 fails: lost", "rest"]
    assert machine.clock.timers == []


def test_of_two_outcomes_the_first_counts() -> None:
    machine, call = Machine(), call_of(Tool())
    machine.add(call, call_of(Tool(), node=1))
    machine.calls.received(call, "first")
    machine.calls.received(call, "second")
    assert machine.news() == ["begin 0", "begin 1", "0 succeeds: first"]


def test_a_slot_goes_from_what_ended_to_the_longest_path() -> None:
    machine, tool = Machine(limit=1), gated()
    calls = [call_of(tool, node=node, priority=priority) for node, priority in enumerate((0, 1, 5))]
    machine.add(*calls)
    assert (machine.news(), [call.phase for call in calls]) == (["begin 2"], [QUEUED, QUEUED, SENT])
    machine.clock.move(10)
    machine.calls.received(calls[2], "c")
    assert machine.news() == ["2 succeeds: c", "begin 1"]
    assert (calls[1].granted, calls[1].slot_from) == (10, (0, 2, 0))
    machine.calls.received(calls[1], LOST)
    assert machine.news() == ["1 fails: lost", "begin 0"]


def test_a_call_that_nobody_wants_gives_its_slot_to_the_next_one() -> None:
    machine, tool = Machine(limit=1), gated()
    running, waiting, last = (call_of(tool, node=node) for node in range(3))
    machine.add(running, waiting, last)
    machine.calls.give_up(waiting)
    machine.calls.give_up(running)
    machine.calls.give_up(running)
    machine.calls.proceed()
    assert machine.news() == ["begin 0", "cancel 0", "begin 2"]
    assert ([running.phase, waiting.phase, last.phase], machine.calls.unfinished) == ([OVER, OVER, SENT], 1)


def test_whatever_needs_nobodys_leave_takes_no_slot() -> None:
    machine, waiting, free = Machine(limit=1), call_of(gated(), node=0), call_of(Tool(), node=1)
    machine.add(call_of(gated(), node=2), waiting, free)
    assert machine.news() == ["begin 1", "begin 2"]
    machine.calls.received(free, "x")
    assert (machine.news(), waiting.phase) == (["1 succeeds: x"], QUEUED)


def test_a_gate_refuses_what_it_was_asked_for() -> None:
    class Closed(Gate):
        def take(self, *_: object) -> int:
            return REFUSED

    machine = Machine(limit=1)
    call = call_of(Tool("closed", gate=Closed("closed", Limits())))
    machine.add(call)
    assert (machine.news(), call.phase) == (["0 fails: circuit_open", "rest"], OVER)
    assert machine.records == {}


@pytest.mark.parametrize("limit", [None, 1])
def test_a_failed_attempt_is_made_again_after_its_pause(limit: int | None) -> None:
    machine, call = Machine(limit), call_of(gated(retry=again(500, 30)))
    machine.add(call)
    machine.calls.received(call, LOST)
    assert (machine.news(), call.phase, machine.clock.timers) == (["begin 0"], PAUSED, [500])
    assert (machine.calls.in_flight, machine.calls.unfinished) == (0, 1)
    machine.clock.move(500)
    machine.calls.received(call, LOST)
    machine.clock.move(600)
    machine.calls.received(call, "at last")
    assert machine.news() == ["begin 0", "begin 0", "0 succeeds: at last", "rest"]
    [record] = machine.trace.operations
    assert [(a.asked, a.sent, a.received, a.outcome) for a in record.attempts] == [
        (0, 0, 0, "lost"),
        (500, 500, 500, "lost"),
        (530, 530, 600, "ok"),
    ]


def picky(*revisions: str) -> dict[str, Any]:
    """What an operation says that has no use for the answer ``no``, and asks these instead, one by one."""
    left = list(revisions)

    def value(answer: Plain, _request: object) -> str:
        if answer.value == "no":
            raise OperationError("useless", "not that")
        return answer.value

    return {"value": value, "revised": lambda *_: left.pop(0) if left else None}


NO = Plain("no", Usage(3, 4), service_ns=20)


@pytest.mark.parametrize("limit", [None, 1])
def test_an_answer_of_no_use_is_followed_at_once_by_what_is_asked_instead(limit: int | None) -> None:
    tool = gated(retry=again(500))
    machine, call = Machine(limit), call_of(tool, "first", **picky("second"))
    machine.add(call)
    machine.clock.move(30)
    machine.calls.received(call, NO)
    assert (machine.news(), call.phase, machine.clock.timers) == (["begin 0"], PAUSED, [30])
    machine.clock.move(30)
    assert (call.request, call.original, call.answer) == ("second", "first", None)
    machine.clock.move(40)
    machine.calls.received(call, "yes")
    assert machine.news() == ["begin 0", "0 succeeds: yes", "rest"]
    [record] = machine.trace.operations
    assert [(a.asked, a.received, a.outcome, a.usage.total, a.service_ns) for a in record.attempts] == [
        (0, 30, "useless", 7, 20),
        (30, 40, "ok", None, None),
    ]
    assert tool.gate is not None
    assert (tool.gate.answered, tool.gate.failed) == (2, 0)


def test_an_answer_of_no_use_is_paid_for_and_its_successor_reserves_anew() -> None:
    tool = costly(30)
    tool.bounded = lambda request: (f"bounded {request}", Cost(len(request)))
    tool.cost = lambda _operation, usage: Cost(usage.total or 0)
    machine, call = (
        Machine(budget=Budget(max_tokens=100), journaled=True),
        call_of(tool, "first", **picky("the second")),
    )
    machine.add(call)
    machine.rows.commit()
    machine.calls.received(call, NO)
    machine.clock.move(0)
    machine.rows.commit()
    assert (call.request, call.original, call.worst) == ("bounded the second", "first", Cost(10))
    machine.calls.received(call, NO)
    rows = ["row: n0 reserves 5", "row: n0 discards 7: not that", "row: n0 cost 7"]
    rows += ["row: n0 reserves 10", "row: n0 discards 7: not that", "row: n0 cost 7"]
    assert [told for told in machine.news() if told.startswith("row")] == rows
    assert machine.records == {0: ["useless", "useless"]}
    [record] = machine.trace.operations
    assert [a.usage.total for a in record.attempts] == [7, 7]


def test_a_pause_is_longer_where_another_attempt_is_not_affordable_yet() -> None:
    delays = [40, 0]
    machine, call = Machine(), call_of(Tool(retry=again(10), delay=lambda *_: delays.pop(0)))
    machine.add(call)
    machine.calls.received(call, LOST)
    machine.clock.move(49)
    assert (machine.news(), call.phase) == (["begin 0"], PAUSED)
    machine.clock.move(50)
    assert (machine.news(), call.asked) == (["begin 0"], 50)


def test_the_time_limit_of_what_was_begun_without_a_task_fails_it_at_once() -> None:
    machine, call = Machine(), call_of(Tool(begin=print, timeout_ns=100))
    machine.add(call)
    machine.clock.move(100)
    assert machine.news() == ["begin 0", "cancel 0", "0 fails: timeout", "rest"]


def test_what_runs_in_a_task_ends_with_that_when_its_time_is_over() -> None:
    machine, call = Machine(), call_of(Tool(timeout_ns=100))
    machine.add(call)
    machine.clock.move(100)
    assert (machine.news(), call.phase, machine.calls.in_flight) == (["begin 0", "cancel 0"], EXPIRED, 1)
    machine.calls.received(call, call.timeout())
    assert machine.news() == ["0 fails: timeout", "rest"]


def test_an_answer_holds_its_slot_until_it_is_committed() -> None:
    machine, tool = Machine(limit=1, journaled=True), gated()
    calls = [call_of(tool, node=node) for node in range(2)]
    machine.add(*calls)
    machine.calls.received(calls[0], "a")
    assert (machine.news(), calls[0].phase) == (["begin 0", "row: n0 is a"], COMMITTING)
    machine.calls.received(calls[0], "another")
    assert machine.news() == []
    machine.rows.commit()
    assert machine.news() == ["0 succeeds: a", "begin 1"]


def test_what_must_not_happen_twice_is_in_the_journal_before_it_begins() -> None:
    machine, call = Machine(journaled=True), call_of(Tool(records_started=True))
    machine.add(call)
    assert (machine.news(), call.phase) == (["row: n0 starts"], STARTING)
    machine.rows.commit()
    assert (machine.news(), call.phase) == (["begin 0"], SENT)


def test_it_does_not_begin_once_the_run_has_ended() -> None:
    machine, call = Machine(journaled=True), call_of(Tool(records_started=True))
    machine.add(call)
    machine.calls.cancel()
    machine.rows.commit()
    assert (machine.news(), call.phase, machine.records) == (["row: n0 starts"], OVER, {})


def costly(tokens: int, used: int | None = None, **says: Any) -> Tool:
    """Costs up to so many tokens, and in the end those it used."""
    return gated(
        bounded=lambda request: (request, Cost(tokens)),
        cost=lambda _operation, _usage: None if used is None else Cost(used),
        **says,
    )


def test_a_budget_is_reserved_settled_and_then_used_up() -> None:
    budget = Budget(max_tokens=100)
    machine = Machine(budget=budget, journaled=True)
    calls = [call_of(costly(60, used=50), node=0), call_of(costly(60), node=1)]
    machine.add(*calls)
    assert machine.news() == ["row: n0 reserves 60"]
    assert (budget.reserved, calls[1].phase) == (Cost(60), QUEUED)
    machine.rows.commit()
    machine.calls.received(calls[0], "a")
    machine.rows.commit()
    assert machine.news() == ["begin 0", "row: n0 is a", "0 succeeds: a", "row: n0 cost 50", "rest"]
    assert (calls[1].phase, machine.calls.limit_reached, budget.spent) == (UNAFFORDABLE, "tokens", Cost(50))


def in_phase(machine: Machine, phase: Phase, node: int) -> Call:
    """A call that has come so far."""
    if phase is QUEUED:
        call = call_of(gated(), node=node)
        machine.add(call_of(gated(), node=node + 50), call)
    elif phase is UNAFFORDABLE:
        call = call_of(costly(10**9), node=node)
        machine.add(call)
    elif phase is STARTING:
        call = call_of(Tool(records_started=True), node=node)
        machine.add(call)
    else:
        call = call_of(Tool(retry=again(9), timeout_ns=1), node=node)
        machine.add(call)
        if phase is PAUSED:
            machine.calls.received(call, LOST)
        elif phase is COMMITTING:
            machine.calls.received(call, "x")
        elif phase is EXPIRED:
            machine.clock.move(machine.clock.now() + 1)
    assert call.phase is phase
    return call


CANCELLED: dict[Phase, tuple[list[str], list[str] | None]] = {
    QUEUED: ([], None),
    STARTING: ([], None),
    SENT: (["cancel 0"], ["cancelled"]),
    EXPIRED: (["cancel 0"], ["cancelled"]),
    COMMITTING: ([], ["ok"]),
    PAUSED: ([], ["lost"]),
    UNAFFORDABLE: ([], None),
}
"""What the end of the run does to a call in each phase, and which of its attempts are kept."""


@pytest.mark.parametrize("phase", CANCELLED, ids=lambda phase: phase.value)
def test_the_end_of_a_run_ends_calls_in_every_phase(phase: Phase) -> None:
    machine = Machine(limit=1, budget=Budget(max_tokens=10**6), journaled=True)
    call = in_phase(machine, phase, 0)
    machine.news()
    machine.calls.cancel()
    actions, kept = CANCELLED[phase]
    assert [told for told in machine.news() if told.endswith(" 0") and told.startswith("cancel")] == actions
    assert machine.records.get(0) == kept
    assert (call.phase, machine.calls.unfinished, machine.calls.in_flight) == (OVER, 0, 0)
    assert machine.clock.timers == []
    # And nothing that comes late does anything.
    machine.rows.commit()
    machine.calls.received(call, "late")
    machine.clock.move(10**12)
    machine.calls.cancel()
    assert [told for told in machine.news() if not told.startswith("row")] == []


def test_an_attempt_that_was_made_before_the_budget_ended_is_kept() -> None:
    budget = Budget(max_tokens=100)
    machine, call = Machine(budget=budget), call_of(costly(60, retry=again(5)))
    machine.add(call)
    machine.calls.received(call, LOST)
    machine.clock.move(5)
    assert call.phase is UNAFFORDABLE
    machine.calls.cancel()
    assert machine.records == {0: ["lost"]}


def any_tool(random: Random) -> Tool:
    limit = random.choice([None, 20])
    match random.randrange(3):
        case 0:
            return costly(random.choice([5, 30]), random.choice([None, 3]), retry=again(4), timeout_ns=limit)
        case 1:
            return gated(retry=again(*[7] * random.randrange(3)), timeout_ns=limit)
        case _:
            return Tool(records_started=random.random() < 0.5, retry=again(3), timeout_ns=limit)


def test_whatever_happens_every_move_is_in_the_table_and_every_call_ends_once() -> None:
    MOVED.clear()
    for seed in range(300):
        random = Random(seed)
        budget = Budget(max_tokens=random.choice([50, 10**6])) if random.random() < 0.5 else None
        machine = Machine(random.choice([None, 1, 3]), budget, journaled=random.random() < 0.5)
        calls: list[Call] = []
        for _ in range(60):
            match random.randrange(6):
                case 0 if len(calls) < 40:
                    priority = random.randrange(3)
                    says = picky(*["else"] * random.randrange(3))
                    calls.append(call_of(any_tool(random), node=len(calls), priority=priority, **says))
                    machine.add(calls[-1])
                case 1 | 2 if calls:
                    machine.calls.received(random.choice(calls), random.choice(["x", Plain("y"), LOST, NO]))
                case 3:
                    machine.rows.commit()
                case 4 if calls and random.random() < 0.3:
                    machine.calls.give_up(random.choice(calls))
                    machine.calls.proceed()
                case _:
                    machine.clock.move(machine.clock.now() + random.randrange(10))
            assert 0 <= machine.calls.in_flight <= machine.calls.unfinished
        machine.calls.cancel()
        assert {call.phase for call in calls} <= {OVER}
        ends = [told.split()[0] for told in machine.told if "succeeds" in told or "fails" in told]
        assert len(ends) == len(set(ends)) == machine.calls.delivered
    assert {(phase, to) for phase, moves in MOVES.items() for to in moves.values()} == MOVED, "the table has no more"
