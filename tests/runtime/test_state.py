"""The dataflow state alone: lists of events, and what may start after each."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.errors import OperationError
from apxm.operations.types import Value
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Enter, Exit, Input, Output
from apxm.program.openers import Subflow, Switch
from apxm.program.program import AnyNode, Program
from apxm.program.verify import verify
from apxm.runtime.frames import FailureToken, Frame
from apxm.runtime.state import State, load
from tests.plans import ask, give, merge, plan, program, show
from tests.random_plans import Broken, Sequential, random_program


class Machine:
    """A state, driven by the nodes' numbers; nodes of opened frames are written ``opener.node``."""

    def __init__(
        self, *nodes: AnyNode, others: tuple[tuple[AnyNode, ...], ...] = (), arguments: tuple[Value, ...] = ()
    ) -> None:
        made = program(plan(*nodes), *(plan(*other) for other in others), parameters=len(arguments))
        verify(made)
        self.state = State(made, load(made))
        self.running: dict[str, tuple[Frame, int]] = {}
        self.state.start(0, arguments)

    def started(self) -> list[str]:
        """The operations that may start now."""
        names: list[str] = []
        while (item := self.state.take()) is not None:
            names.append(self.name(*item))
            self.running[names[-1]] = item
        return names

    def name(self, frame: Frame, node: int) -> str:
        return str(node) if frame.parent is None else f"{self.name(frame.parent, frame.opener)}.{node}"

    def ok(self, name: str, value: Value = "v") -> list[str]:
        self.state.succeed(*self.running.pop(name), value)
        return self.started()

    def fail(self, name: str) -> list[str]:
        frame, node = self.running.pop(name)
        self.state.fail(frame, node, FailureToken(frame, node, OperationError("test", name)))
        return self.started()

    @property
    def over(self) -> bool:
        return not self.running and self.state.open_frames == 0


def test_independent_operations_start_together_and_a_join_waits_for_all() -> None:
    m = Machine(ask("a"), ask("b"), merge(0, 1), give(2))
    assert m.started() == ["0", "1"]
    assert m.ok("1") == []
    assert m.ok("0") == ["2"]
    assert m.ok("2", "done") == []
    assert m.over
    assert m.state.results == {0: "done"}


def test_a_failure_skips_what_needs_it_and_nothing_else() -> None:
    m = Machine(ask("a"), ask("b"), ask(0), ask(2), ask(1))
    assert m.started() == ["0", "1"]
    assert m.fail("0") == []
    assert m.ok("1") == ["4"]
    m.ok("4")
    assert m.over
    assert m.state.skipped == 2


def test_a_settled_order_edge_holds_for_skipped_operations_too() -> None:
    # print(1) is skipped because ask failed, yet print(2) must not overtake print(0).
    m = Machine(ask("slow"), show(0), ask("bad"), show(2, after=[1]), show("end", after=[3]))
    assert m.started() == ["0", "2"]
    assert m.fail("2") == []
    assert m.ok("0") == ["1"]
    assert m.ok("1") == ["4"]


def test_a_succeeded_order_edge_skips() -> None:
    m = Machine(ask("write"), ask("read", requires=[0]), show("still", after=[1]))
    m.started()
    assert m.fail("0") == ["2"]
    assert m.state.skipped == 1


def test_the_failure_that_is_named_is_the_first_in_the_text_not_in_time() -> None:
    m = Machine(ask("a"), ask("b"), merge(0, 1), give(2))
    m.started()
    m.fail("1")
    m.fail("0")
    assert m.state.results[0].error.message == "0"


def switch(*nodes: AnyNode, selector: int | str, arms: dict[str, int], default: int | None = None) -> Switch:
    del nodes
    return Switch(
        operands=(selector,) if isinstance(selector, int) else (),
        selector=Operand(0) if isinstance(selector, int) else Literal(selector),
        labels=tuple(arms),
        arms=tuple(arms.values()),
        default=default,
    )


def enter(opener: int, port: int, source: int) -> Enter:
    return Enter(opener=opener, port=port, operands=(source,), value=Operand(0))


def test_a_switch_opens_on_its_selector_and_does_not_wait_for_what_the_other_arm_uses() -> None:
    m = Machine(
        ask("kind"),
        ask("slow"),
        switch(selector=0, arms={"quick": 1, "slow": 2}),
        enter(2, 0, 1),
        Exit(opener=2, port=0),
        ask(4),
        others=((Input(), ask("now"), give(1)), (Input(), ask(0), give(1))),
    )
    assert m.started() == ["0", "1"]
    assert m.ok("0", " Quick\n") == ["2.1"]
    assert m.ok("2.1") == ["5"]
    m.ok("5")
    assert not m.over  # the slow value is still owed to the frame
    m.ok("1")
    assert m.over


@pytest.mark.parametrize("first", ["selector", "value"])
def test_a_value_reaches_its_arm_whether_it_comes_before_or_after_the_frame(first: str) -> None:
    m = Machine(
        ask("kind"),
        ask("value"),
        switch(selector=0, arms={"x": 1}),
        enter(2, 0, 1),
        Exit(opener=2, port=0),
        give(4),
        others=((Input(), ask(0), give(1)),),
    )
    m.started()
    order = [("0", "x"), ("1", "v")] if first == "selector" else [("1", "v"), ("0", "x")]
    assert m.ok(*order[0]) == []
    assert m.ok(*order[1]) == ["2.1"]
    m.ok("2.1", "out")
    assert m.state.results == {0: "out"}
    assert m.over


def test_no_match_fails_the_switch_and_says_what_was_found_and_known() -> None:
    m = Machine(
        switch(selector="Purple", arms={"red": 1, "blue": 1}),
        Exit(opener=0, port=0),
        ask(1),
        others=((ask("x"), give(0)),),
    )
    assert m.started() == []
    assert m.over
    assert m.state.skipped == 1
    [failed] = m.state.failures
    assert failed.error.kind == "no_match"
    assert failed.error.message == 'no case matches "Purple"; the cases are "red", "blue"'


def test_a_selector_that_is_no_text_fails_the_switch() -> None:
    m = Machine(
        Switch(selector=Literal(7), labels=("7",), arms=(1,)),
        Exit(opener=0, port=0),
        others=((ask("x"), give(0)),),
    )
    assert m.started() == []
    assert m.over
    [failed] = m.state.failures
    assert (failed.error.kind, failed.error.message) == ("wrong_type", "expected a str, found 7")


def test_order_passes_through_a_switch_that_could_not_be_opened_but_not_before_its_turn() -> None:
    out: tuple[AnyNode, ...] = (Input(), show("in", after=[0]), Output(port=0, requires=(1,)))
    m = Machine(
        ask("first"),
        show(0),
        switch(selector="none", arms={"some": 1}),
        Enter(opener=2, port=0, requires=(1,)),
        Exit(opener=2, port=0, after=(3,)),
        show("last", after=[4]),
        others=(out,),
    )
    assert m.started() == ["0"]
    assert m.ok("0") == ["1"]
    assert m.ok("1") == ["5"]


def test_a_call_opens_at_once_and_each_argument_is_delivered_as_it_arrives() -> None:
    m = Machine(
        ask("a"),
        ask("b"),
        Subflow(plan=1),
        enter(2, 0, 0),
        enter(2, 1, 1),
        Exit(opener=2, port=0),
        give(5),
        others=((Input(), Input(), ask("free"), ask(0), ask(1), merge(2, 3, 4), give(5)),),
    )
    assert m.started() == ["0", "1", "2.2"]
    assert m.ok("1") == ["2.4"]
    assert m.ok("0") == ["2.3"]


def test_a_failed_argument_skips_inside_the_call_only_what_uses_it() -> None:
    m = Machine(
        ask("a"),
        Subflow(plan=1),
        enter(1, 0, 0),
        Exit(opener=1, port=0),
        give(3),
        others=((Input(), ask("free"), ask(0), give(1)),),
    )
    assert m.started() == ["0", "1.1"]
    m.fail("0")
    m.ok("1.1", "kept")
    assert m.over
    assert m.state.results == {0: "kept"}
    assert m.state.skipped == 1


def test_an_empty_flow_is_over_at_once() -> None:
    m = Machine()
    assert m.started() == []
    assert m.over


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), fails=st.integers(0, 3))
def test_any_order_of_arrival_gives_the_sequential_result(seed: int, fails: int) -> None:
    random = Random(seed)
    made = random_program(random)
    verify(made)
    honest = Sequential(made)
    honest.run()
    prompts = sorted(set(honest.executed.values()))
    failing = frozenset(random.sample(prompts, min(fails, len(prompts))))
    expected = Sequential(made, failing)
    result = expected.run()
    executed, value = run_in_any_order(made, failing, random)
    assert executed == expected.executed
    if isinstance(result, Broken):
        assert isinstance(value, FailureToken)
        assert path(value.frame, value.node) == result
    else:
        assert value == result


def path(frame: Frame, node: int) -> str:
    return (path(frame.parent, frame.opener) if frame.parent else "") + f"/{node}"


def run_in_any_order(made: Program, failing: frozenset[str], random: Random) -> tuple[dict[str, str], Value]:
    """Completes operations in random order, and checks that each starts once, after all it needs."""
    state = State(made, load(made))
    state.start(0, ())
    running: list[tuple[Frame, int, str]] = []
    executed: dict[str, str] = {}
    while True:
        while (item := state.take()) is not None:
            frame, node = item
            name = path(frame, node)
            assert name not in executed, f"{name} fired twice"
            found = frame.plan.nodes[node]
            early = [
                p
                for p in (*found.operands, *found.after, *found.requires)
                if frame.plan.actions[p] is None
                and frame.values[p] is None
                and not isinstance(frame.plan.nodes[p], Input)
            ]
            assert not early, f"{name} fired before {early}"
            prompt = "".join(
                part.value if isinstance(part, Literal) else frame.values[found.operands[part.index]]
                for part in found.arguments[0].parts
            )
            executed[name] = prompt
            running.append((frame, node, prompt))
        if not running:
            break
        frame, node, prompt = running.pop(random.randrange(len(running)))
        if prompt in failing:
            state.fail(frame, node, FailureToken(frame, node, OperationError("test", prompt)))
        else:
            state.succeed(frame, node, f"<{prompt}>")
    assert state.open_frames == 0
    return executed, state.results[0]
