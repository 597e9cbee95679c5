"""Order edges, with resources that no operation of today has: memory needs no change here when it comes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apxm.compiler.order import OrderTracker, input_ports
from apxm.compiler.pipeline import compile_source
from apxm.errors import OperationError
from apxm.ir.constructs import SwitchOp
from apxm.ir.core import Op, SSAValue
from apxm.ir.operations import OperateOp
from apxm.ir.structure import Module
from apxm.ir.summary import Summary
from apxm.operations.effects import OUTPUT, TOOL, Access, Order, Resource, order_between
from apxm.operations.types import Value
from apxm.program.openers import Subflow
from apxm.program.program import Program
from apxm.runtime.frames import FailureToken, Frame
from apxm.runtime.state import State, load
from apxm.source import SourceFile
from tests.compiler.reference import FAILED, Machine
from tests.programs import LABELS, sources

NOTES = Resource("memory", "A", "ltm", "notes")
PLANS = Resource("memory", "A", "ltm", "plans")
ANY_KEY = Resource("memory", "A", "ltm")

accesses = (
    st.builds(Access, st.sampled_from(["read", "write"]), st.sampled_from([NOTES, PLANS, ANY_KEY]))
    | st.builds(Access, st.just("write"), st.just(OUTPUT))
    | st.builds(Access, st.sampled_from(["read", "write"]), st.just(TOOL))
)


# --- one plan ------------------------------------------------------------------------------------------------------


@given(st.lists(accesses, max_size=12))
def test_of_two_accesses_that_must_keep_their_order_the_second_waits_at_least_as_strictly(found: list[Access]) -> None:
    tracker = OrderTracker({})
    edges: list[dict[int, Order]] = []
    for node, access in enumerate(found):
        new = tracker.edges_to((access,))
        edges.append({edge.pending.node: edge.order for edge in new})
        tracker.add({access: node}, node, new)
    for later, second in enumerate(found):
        waits, strictly = reached(edges, later, strict=False), reached(edges, later, strict=True)
        for earlier, first in enumerate(found[:later]):
            order = order_between(first, second)
            assert order is None or earlier in (strictly if order is Order.SUCCEEDED else waits)


def reached(edges: list[dict[int, Order]], start: int, *, strict: bool) -> set[int]:
    """The nodes that `start` waits for, by edges that skip it where one failed if `strict`."""
    found: set[int] = set()
    stack = [start]
    while stack:
        for earlier, order in edges[stack.pop()].items():
            if earlier not in found and (order is Order.SUCCEEDED or not strict):
                found.add(earlier)
                stack.append(earlier)
    return found


def test_a_line_waits_for_the_one_before_it_and_not_for_all() -> None:
    tracker = OrderTracker({})
    for node in range(4):
        edges = tracker.edges_to((Access("write", OUTPUT),))
        assert [edge.pending.node for edge in edges] == [node - 1] * bool(node)
        tracker.add({Access("write", OUTPUT): node}, node, edges)


def test_a_write_behind_a_read_still_depends_on_the_write_before_it() -> None:
    tracker = OrderTracker({})
    for node, access in enumerate((Access("write", NOTES), Access("read", NOTES))):
        tracker.add({access: node}, node, tracker.edges_to((access,)))
    edges = tracker.edges_to((Access("write", NOTES),))
    assert {edge.pending.node: edge.order for edge in edges} == {0: Order.SUCCEEDED, 1: Order.SETTLED}


def test_an_edge_that_others_imply_is_left_out() -> None:
    tracker = OrderTracker({})
    for node, access in enumerate((Access("read", ANY_KEY), Access("write", NOTES))):
        tracker.add({access: node}, node, tracker.edges_to((access,)))
    edges = tracker.edges_to((Access("write", ANY_KEY),))
    assert [edge.pending.node for edge in edges] == [1]


def test_a_frame_is_told_of_what_comes_before_only_as_far_as_that_exists() -> None:
    reads, writes = Access("read", NOTES), Access("write", NOTES)
    assert input_ports((reads,), (reads, writes)) == (writes,)
    assert input_ports((writes,), (reads, writes)) == (reads, writes)
    assert input_ports((writes,), (writes,)) == (writes,)
    assert input_ports((reads,), (reads,)) == ()


# --- through frames ------------------------------------------------------------------------------------------------

TABLE = {
    "ask": (Access("read", TOOL),),
    "merge": (Access("write", TOOL),),
    "wait_all": (Access("read", ANY_KEY),),
    "think": (Access("write", ANY_KEY),),
    "reason": (Access("read", ANY_KEY), Access("write", TOOL)),
}
"""As if these operations touched what operations to come will touch."""


@pytest.fixture(scope="module", autouse=True)
def _more_effects() -> object:
    accesses_of = Summary.accesses

    def patched(self: Summary, op: Op) -> tuple[Access, ...]:
        known = TABLE.get(op.OPERATION.name) if isinstance(op, OperateOp) else None
        return accesses_of(self, op) if known is None else known

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Summary, "accesses", patched)
        yield


class LineByLine(Machine):
    """Runs a module in the order of its text, and knows what has to happen if some operations fail."""

    def __init__(self, module: Module, failing: set[str]) -> None:
        super().__init__(module, lambda _prompt, _system: "")
        self.summary = Summary(module)
        self.failing = failing
        self.done: list[tuple[str, tuple[Access, ...], bool]] = []
        """Path, accesses and whether it succeeded, in the order of the text."""
        self.missing: list[tuple[Access, ...]] = []
        """The accesses of those that did not."""

    def do(self, op: Op, operands: list[Value], values: dict[SSAValue, Value]) -> Value:
        path = "/".join([*self.calls, op.path])
        if isinstance(op, SwitchOp) and (operands[0] is FAILED or op.arm_for(operands[0]) is None):
            self.note(path, self.summary.accesses(op), False)
        if not isinstance(op, OperateOp):
            return super().do(op, operands, values)
        touched = self.summary.accesses(op)
        held = any(
            order_between(earlier, access) is Order.SUCCEEDED
            for before in self.missing
            for earlier in before
            for access in touched
        )
        skipped = held or any(operand is FAILED for operand in operands)
        succeeded = not skipped and path not in self.failing
        self.note(path, touched, succeeded)
        return answer(path) if succeeded else FAILED

    def note(self, path: str, accesses: tuple[Access, ...], succeeded: bool) -> None:
        self.done.append((path, accesses, succeeded))
        if not succeeded:
            self.missing.append(accesses)


def answer(path: str) -> str:
    return Random(path).choice(LABELS)


@settings(max_examples=60, deadline=None)
@given(sources(fields=False), st.integers(0, 5), st.sampled_from([0, 1]), st.booleans())
def test_effects_keep_their_order_through_every_construct(text: str, seed: int, level: int, fail: bool) -> None:
    compilation = compile_source(SourceFile("test.ais", text), level=level)
    random = Random(seed)
    machine = LineByLine(compilation.module, set())
    entry = next(symbol for symbol in machine.flows if symbol.endswith(".main"))
    machine.call(machine.flows[entry], [])
    assume(len(machine.done) < 150)
    failing = {path for path, _, _ in machine.done if fail and random.random() < 0.2}
    machine = LineByLine(compilation.module, failing)
    machine.call(machine.flows[entry], [])

    started, ended = run(compilation.program, random, failing)
    expected = {path for path, _, succeeded in machine.done if succeeded or path in failing}
    skipped = {path for path, _, succeeded in machine.done if not succeeded and path not in failing}
    assert started.keys() & skipped == set()
    assert expected - started.keys() <= failing
    for i, (second, touched, _) in enumerate(machine.done):
        for first, before, _ in machine.done[:i]:
            if any(order_between(a, b) for a in before for b in touched) and {first, second} <= started.keys():
                assert ended[first] < started[second], (first, second)


def run(program: Program, random: Random, failing: set[str]) -> tuple[dict[str, int], dict[str, int]]:
    """When each operation started and ended, if they end in random order."""
    state = State(program, load(program))
    assert program.entry is not None
    state.start(program.flows[program.entry].plan, [])
    started: dict[str, int] = {}
    ended: dict[str, int] = {}
    running: list[tuple[Frame, int]] = []
    while True:
        while (item := state.take()) is not None:
            running.append(item)
            started[path_of(program, *item)] = len(started) + len(ended)
        if not running:
            return started, ended
        frame, node = running.pop(random.randrange(len(running)))
        path = path_of(program, frame, node)
        ended[path] = len(started) + len(ended)
        if path in failing:
            state.fail(frame, node, FailureToken(frame, node, OperationError("test", "told to fail")))
        else:
            state.succeed(frame, node, answer(path))


def path_of(program: Program, frame: Frame, node: int) -> str:
    parts = [program.names.plans[frame.plan.index].nodes[node].path]
    while frame.parent is not None:
        opener = frame.parent.plan.nodes[frame.opener]
        if isinstance(opener, Subflow):
            parts.append(program.names.plans[frame.parent.plan.index].nodes[frame.opener].path)
        frame = frame.parent
    return "/".join(reversed(parts))
