"""The dataflow state of one run: tokens in, operations to start out. It knows no clock, no task and no network.

Each node counts the tokens it still needs (`program.program` says which); at zero it is taken. What never waits is done
here, where it is taken. An operation that waits is handed out by `take`, and comes back through `succeed` or `fail`.

A failure travels as a token like any other, so that a node is skipped exactly when it would have fired: order edges
hold for skipped operations too. Which failure a skipped operation names is the first in the order of its operands, not
the first to arrive.

A value that cannot be computed travels likewise, and is nobody's failure until something needs it: then it is that
operation's, as if the operation had computed the value itself. So it does not matter where a value is computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import cast

from apxm.errors import OperationError
from apxm.operations.labels import matching_label
from apxm.operations.plain import kind_of
from apxm.operations.types import Value
from apxm.program.program import (
    AnyNode,
    Compute,
    Enter,
    Exit,
    If,
    Input,
    Operate,
    Output,
    Plan,
    Program,
    Repeat,
    Subflow,
    Switch,
    Try,
)
from apxm.program.unfolding import FrameRecord
from apxm.runtime.expressions import Evaluate, evaluator
from apxm.runtime.handlers.inline import Emit, InlineOperation
from apxm.runtime.tokens import FailureToken
from apxm.runtime.trials import Trial
from apxm.runtime.turns import TurnPorts, Turns
from apxm.source import shortened

Replace = Callable[[int, int, AnyNode, Evaluate], Evaluate]
"""What is to compute the value of a node, given its plan, its index there, itself, and what the program says."""


class LoadedPlan:
    """A plan, made ready to run: flat tuples by node."""

    __slots__ = (
        "actions",
        "counts",
        "enters",
        "evaluators",
        "exits",
        "index",
        "inline",
        "inputs",
        "nodes",
        "outputs",
        "sources",
        "successors",
        "turns",
    )

    def __init__(
        self,
        index: int,
        plan: Plan,
        inline: Sequence[InlineOperation | None] | None = None,
        replace: Replace | None = None,
    ) -> None:
        """`inline` has the operations that never wait, by node; without it every operation is handed out."""
        nodes = plan.nodes
        self.index = index
        self.inline = (None,) * len(nodes) if inline is None else tuple(inline)
        self.inputs = plan.inputs
        self.outputs = plan.outputs
        self.nodes: tuple[AnyNode, ...] = nodes
        successors: list[list[int]] = [[] for _ in nodes]
        self.counts: list[int] = []
        """Tokens each node needs: one per predecessor, and for an `Input` or `Exit` the one from the other frame."""
        self.enters: dict[int, dict[int, int]] = {}
        """What enters the frames of each opener: the nodes, each with the port."""
        self.turns: dict[int, TurnPorts] = {}
        """The ports of each `Repeat`."""
        self.exits: dict[int, dict[int, int]] = {}
        for i, node in enumerate(nodes):
            predecessors = {*node.operands, *node.after, *node.requires}
            for p in predecessors:
                successors[p].append(i)
            self.counts.append(len(predecessors) + isinstance(node, Input | Exit))
            if isinstance(node, Enter):
                self.enters.setdefault(node.opener, {})[i] = node.port
            elif isinstance(node, Exit):
                self.exits.setdefault(node.opener, {})[node.port] = i
        self.successors: tuple[tuple[int, ...], ...] = tuple(map(tuple, successors))
        self.sources: tuple[int, ...] = tuple(i for i, count in enumerate(self.counts) if count == 0)
        self.actions: tuple[Action | None, ...] = tuple(_ACTIONS[type(node)] for node in nodes)
        """What `State.take` does at a node; None for an operation."""
        self.evaluators: dict[int, Evaluate] = {}
        """The evaluators of all nodes, but operations, that compute something."""
        for i, node in enumerate(nodes):
            if node.computes is not None:
                evaluate = evaluator(node.computes, node.operands)
                self.evaluators[i] = replace(index, i, node, evaluate) if replace else evaluate


class Frame:
    """A plan while it runs."""

    __slots__ = (
        "base",
        "children",
        "counts",
        "index",
        "opener",
        "parent",
        "plan",
        "poisoned",
        "remaining",
        "scope",
        "turn",
        "values",
        "via",
    )

    def __init__(
        self,
        plan: LoadedPlan,
        index: int,
        parent: Frame | None,
        opener: int,
        base: int,
        via: Turns | Trial | None = None,
        turn: int = 0,
        scope: Trial | None = None,
    ) -> None:
        self.plan = plan
        self.index = index
        self.parent = parent
        self.opener = opener
        """The node in `parent` that opened this frame."""
        self.base = base
        """Longest path from the end of this frame to the end of the run, in ms: added to a node's own priority."""
        self.counts = plan.counts.copy()
        self.values: list[Value] = [None] * len(plan.nodes)
        """What each node gave, once it is over; a `FailureToken` where it failed."""
        self.via = via
        """Who sees to what leaves it; None where that goes out at the exits at once."""
        self.turn = turn
        """Which of the turns of its opener it is, from 1; 0 where there are none."""
        self.scope = scope
        """The innermost body of a `try` that it is part of."""
        self.children: dict[int, Frame | Turns | Trial | None] = {}
        """The frame of each opener, or who sees to its frames; None once it is over, or where it could not be
        opened."""
        self.poisoned: set[int] | None = None
        """Nodes that will be skipped."""
        self.remaining = len(plan.nodes)

    def place(self, node: int) -> tuple[int, ...]:
        """Sorts as the program is written: nodes stand in its order, and a frame where it is opened."""
        frame, place = self, [node]
        while frame.parent is not None:
            place += frame.turn, frame.opener
            frame = frame.parent
        return tuple(reversed(place))


class State:
    """One run of one plan. `results` holds what left it by its output ports: a value, or a `FailureToken`."""

    def __init__(
        self,
        program: Program,
        plans: Sequence[LoadedPlan],
        emit: Emit = lambda _line: None,
        handed_out: int | None = None,
    ) -> None:
        """One in `handed_out` of the operations that never wait is given to whoever takes, to be run and clocked there;
        without it, none."""
        self.program = program
        self.plans = plans
        self.emit = emit
        self._handed_out = handed_out or 1  # divided by which nothing leaves 1
        self.ready: deque[tuple[Frame, int]] = deque()
        self.stopped = False
        """Set from outside, also from within `emit`, or by a failure: then `take` gives nothing more."""
        self.ends_at_failure = False
        """Whether the first failure stops it."""
        self.ran_inline = 0
        """Operations that are over, well or badly, and never waited."""
        self.frames: list[FrameRecord] = []
        self.open_frames = 0
        self.results: dict[int, Value] = {}
        self.max_open_turns = 4096
        """Most turns of one opener of a frame that are open at once: a list of a million takes no million frames."""
        self.failures: list[FailureToken] = []
        """The failures that nothing caught, in the order in which they happened."""
        self.caught: list[FailureToken] = []
        """The others."""
        self.failed = 0
        """Operations that failed; the other failures are of a `switch` without a match, and the like."""
        self.skipped = 0
        """Operations that will never start because something they need failed."""

    def start(self, plan: int, arguments: Sequence[Value]) -> Frame:
        """Opens the first frame. `arguments` are its value inputs; order is free from the start."""
        frame = self.open(self.plans[plan], None, -1, 0)
        for port in range(frame.plan.inputs):
            self.succeed(frame, port, arguments[port] if port < len(arguments) else None)
        return frame

    def take(self) -> tuple[Frame, int] | None:
        """The next operation to start; None when nothing is ready.

        Those that never wait are run here, but for one in so many (`__init__`).
        """
        ready, emit, handed_out = self.ready, self.emit, self._handed_out
        popleft, append = ready.popleft, ready.append
        while ready and not self.stopped:
            item = popleft()
            frame, node = item
            plan = frame.plan
            poisoned = frame.poisoned
            operation = plan.inline[node]
            if operation is not None and (poisoned is None or node not in poisoned):
                self.ran_inline += 1
                if self.ran_inline % handed_out == 1:
                    return item
                try:
                    value = operation.apply(operation.collect(frame.values), emit)
                except OperationError as error:
                    self.broke(frame, node, error)
                    continue
                # `succeed`, written out: the call would be a fifth of what such an operation costs.
                frame.values[node] = value
                counts = frame.counts
                for successor in plan.successors[node]:
                    counts[successor] = left = counts[successor] - 1
                    if not left:
                        append((frame, successor))
                frame.remaining -= 1
                if not frame.remaining:
                    self._close(frame)
                continue
            action = plan.actions[node]
            if action is not None:
                action(self, frame, node)
            elif poisoned is not None and node in poisoned:
                self._skip(frame, node)
            else:
                return item
        return None

    def succeed(self, frame: Frame, node: int, value: Value) -> None:
        """The node is over and gave `value`; its tokens are delivered."""
        frame.values[node] = value
        counts = frame.counts
        for successor in frame.plan.successors[node]:
            counts[successor] = left = counts[successor] - 1
            if not left:
                self.ready.append((frame, successor))
        frame.remaining -= 1
        if not frame.remaining:
            self._close(frame)

    def broke(self, frame: Frame, node: int, error: OperationError) -> None:
        """The operation is over and failed."""
        self.failed += 1
        failure = self._record(FailureToken(frame, node, error))
        self.fail(frame, node, failure)

    def _record(self, failure: FailureToken) -> FailureToken:
        if failure.frame.scope is not None:
            failure.frame.scope.failures.append(failure)
            return failure
        self.failures.append(failure)
        if self.ends_at_failure:
            self.stopped = True
        return failure

    def _skip(self, frame: Frame, node: int) -> None:
        """The operation cannot start."""
        cause = _cause(frame, node)
        if cause.is_value:
            self.ran_inline += 1
            self.broke(frame, node, cause.error)
        else:
            self.skipped += 1
            self.fail(frame, node, cause)

    def fail(self, frame: Frame, node: int, failure: FailureToken) -> None:
        """The node is over and failed, or was skipped; those that only come `after` it go ahead."""
        frame.values[node] = failure
        nodes = frame.plan.nodes
        for successor in frame.plan.successors[node]:
            if node in nodes[successor].operands or node in nodes[successor].requires:
                self._poison(frame, successor)
            self._arrive(frame, successor)
        frame.remaining -= 1
        if not frame.remaining:
            self._close(frame)

    # --- frames ----------------------------------------------------------------------------------------------------

    def open(
        self,
        plan: LoadedPlan,
        parent: Frame | None,
        opener: int,
        base: int,
        via: Turns | Trial | None = None,
        turn: int = 0,
        scope: Trial | None = None,
    ) -> Frame:
        """A new frame, into which nothing is delivered yet."""
        frame = Frame(plan, len(self.frames), parent, opener, base, via, turn, scope)
        self.frames.append(FrameRecord(plan.index, parent.index if parent else -1, opener, turn))
        self.ready.extend(zip(repeat(frame), plan.sources))
        if frame.remaining:
            self.open_frames += 1
            if scope is not None:
                scope.open += 1
        return frame

    def _close(self, frame: Frame) -> None:
        if frame.via is not None:
            frame.via.closed(frame)
        elif frame.parent is not None:
            frame.parent.children[frame.opener] = None
        self.open_frames -= 1
        if frame.scope is not None:
            frame.scope.over()

    def _open_child(self, frame: Frame, opener: int, plan: int, priority: int) -> None:
        child = self.open(self.plans[plan], frame, opener, frame.base + priority, scope=frame.scope)
        frame.children[opener] = child
        for port, value in self._entered(frame, opener):
            self.pass_on(child, port, value)

    def _entered(self, frame: Frame, opener: int) -> list[tuple[int, Value]]:
        """What is there already of what enters the frames of `opener`, by port."""
        plan = frame.plan
        return [
            (plan.enters[opener][enter], frame.values[enter])
            for enter in plan.enters.get(opener, ())
            if frame.counts[enter] == _DELIVERED
        ]

    def leave(self, frame: Frame, opener: int, port: int, value: Value) -> None:
        """Something leaves the frames that `opener` of `frame` opened."""
        exit_ = frame.plan.exits.get(opener, _NO_EXITS).get(port)
        if exit_ is not None:
            frame.values[exit_] = value
            self._arrive(frame, exit_)

    def _refuse_child(self, frame: Frame, opener: int, failure: FailureToken) -> None:
        """The frame will never exist: everything that would have left it fails."""
        frame.children[opener] = None
        for exit_ in frame.plan.exits.get(opener, {}).values():
            frame.values[exit_] = failure
            self._arrive(frame, exit_)
        self.fail(frame, opener, failure)

    # --- nodes that are not operations -----------------------------------------------------------------------------

    def _compute(self, frame: Frame, node: int) -> None:
        self.pass_on(frame, node, self._value(frame, node))

    def _output(self, frame: Frame, node: int) -> None:
        value = self._value(frame, node)
        output = frame.plan.nodes[node]
        assert isinstance(output, Output)
        parent = frame.parent
        if parent is None:
            self.results[output.port] = value
            if isinstance(value, FailureToken) and value.is_value:
                self._record(FailureToken(frame, node, value.error))
        elif frame.via is not None:
            frame.via.output(frame, output.port, value)
        else:
            self.leave(parent, frame.opener, output.port, value)
        self.pass_on(frame, node, value)

    def _enter(self, frame: Frame, node: int) -> None:
        value = self._value(frame, node)
        frame.counts[node] = _DELIVERED
        self.pass_on(frame, node, value)
        enter = frame.plan.nodes[node]
        assert isinstance(enter, Enter)
        child = frame.children.get(enter.opener)
        if isinstance(child, Frame):
            self.pass_on(child, enter.port, value)
        elif child is not None:
            child.enter(enter.port, value)

    def _exit(self, frame: Frame, node: int) -> None:
        self.pass_on(frame, node, frame.values[node])

    def _switch(self, frame: Frame, node: int) -> None:
        selector = self._value(frame, node)
        switch = frame.plan.nodes[node]
        assert isinstance(switch, Switch)
        if not isinstance(selector, str):
            self._refuse_value(frame, node, selector, "str")
            return
        label = matching_label(selector, switch.labels)
        arm = switch.default if label is None else switch.arms[switch.labels.index(label)]
        if arm is None:
            known = ", ".join(f'"{label}"' for label in switch.labels)
            error = OperationError("no_match", f'no case matches "{shortened(selector, 80)}"; the cases are {known}')
            self._refuse(frame, node, error)
            return
        self._open_child(frame, node, arm, switch.priority)
        self.succeed(frame, node, None)

    def _if(self, frame: Frame, node: int) -> None:
        condition = self._value(frame, node)
        branch = frame.plan.nodes[node]
        assert isinstance(branch, If)
        if condition is True or condition is False:
            self._open_child(frame, node, branch.then if condition else branch.otherwise, branch.priority)
            self.succeed(frame, node, None)
        else:
            self._refuse_value(frame, node, condition, "bool")

    def _repeat(self, frame: Frame, node: int) -> None:
        found = self._value(frame, node)
        repeat_ = frame.plan.nodes[node]
        assert isinstance(repeat_, Repeat)
        if isinstance(found, FailureToken):
            self._refuse_value(frame, node, found, "list")
            return
        limit, items = cast("list[Value]", found) if repeat_.items is not None else (found, None)
        if not isinstance(limit, int) or isinstance(limit, bool):
            self._refuse_value(frame, node, limit, "int")
        elif limit < 1:
            error = OperationError("out_of_range", f"`max` of `{repeat_.called}` is at least 1, and this is {limit}")
            self._refuse(frame, node, error)
        elif items is not None and not isinstance(items, list):
            self._refuse_value(frame, node, items, "list")
        else:
            taken = cast("list[Value]", items or [])
            if len(taken) > limit:
                message = f"a list of {len(taken):,} items, and `max` of `{repeat_.called}` is {limit:,}"
                self._refuse(frame, node, OperationError("too_many_items", message))
                return
            plan = self.plans[repeat_.plan]
            count = limit if items is None else len(taken)
            self._begin(frame, node, Turns(self, frame, node, frame.plan.turns[node], plan, count, taken))

    def _try(self, frame: Frame, node: int) -> None:
        attempt = frame.plan.nodes[node]
        assert isinstance(attempt, Try)
        self._begin(frame, node, Trial(self, frame, node, attempt))

    def _begin(self, frame: Frame, node: int, frames: Turns | Trial) -> None:
        frame.children[node] = frames
        for port, value in self._entered(frame, node):
            frames.enter(port, value)
        frames.begin()
        self.succeed(frame, node, None)

    def _refuse_value(self, frame: Frame, opener: int, found: Value, expected: str) -> None:
        """What the opener needs is not there, or is no `expected`: with types that were checked, json that is not what
        the program takes it for."""
        if not isinstance(found, FailureToken):
            error = OperationError("wrong_type", f"expected a {expected}, found {kind_of(found)}")
            self._refuse(frame, opener, error)
        elif found.is_value:
            self._refuse(frame, opener, found.error)
        else:
            self._refuse_child(frame, opener, found)

    def _refuse(self, frame: Frame, opener: int, error: OperationError) -> None:
        failure = self._record(FailureToken(frame, opener, error))
        self._refuse_child(frame, opener, failure)

    def _call(self, frame: Frame, node: int) -> None:
        call = frame.plan.nodes[node]
        assert isinstance(call, Subflow)
        self._open_child(frame, node, call.plan, call.priority)
        self.succeed(frame, node, None)

    def _value(self, frame: Frame, node: int) -> Value:
        """What the node computes: None for an order token, a `FailureToken` where something it needs failed, or where
        there is no such value."""
        if frame.poisoned is not None and node in frame.poisoned:
            return _cause(frame, node)
        evaluate = frame.plan.evaluators.get(node)
        if evaluate is None:
            return None
        try:
            return evaluate(frame.values)
        except OperationError as error:
            return FailureToken(frame, node, error, is_value=True)

    # --- tokens ----------------------------------------------------------------------------------------------------

    def pass_on(self, frame: Frame, node: int, value: Value) -> None:
        """The node is over and gave `value`, be that a failure."""
        if isinstance(value, FailureToken):
            self.fail(frame, node, value)
        else:
            self.succeed(frame, node, value)

    def _arrive(self, frame: Frame, node: int) -> None:
        frame.counts[node] -= 1
        if not frame.counts[node]:
            self.ready.append((frame, node))

    def _poison(self, frame: Frame, node: int) -> None:
        if frame.poisoned is None:
            frame.poisoned = set()
        frame.poisoned.add(node)


_NO_EXITS: Mapping[int, int] = MappingProxyType({})
_DELIVERED = -1
"""The count of an `Enter` whose token is there: it may be, before the frame it goes to exists."""

Action = Callable[[State, Frame, int], None]

_ACTIONS: dict[type[AnyNode], Action | None] = {
    Operate: None,
    Input: None,
    Compute: State._compute,  # pyright: ignore[reportPrivateUsage] - the table belongs to the class
    Output: State._output,  # pyright: ignore[reportPrivateUsage]
    Switch: State._switch,  # pyright: ignore[reportPrivateUsage]
    If: State._if,  # pyright: ignore[reportPrivateUsage]
    Repeat: State._repeat,  # pyright: ignore[reportPrivateUsage]
    Try: State._try,  # pyright: ignore[reportPrivateUsage]
    Subflow: State._call,  # pyright: ignore[reportPrivateUsage]
    Enter: State._enter,  # pyright: ignore[reportPrivateUsage]
    Exit: State._exit,  # pyright: ignore[reportPrivateUsage]
}


def load(
    program: Program, inline: Sequence[Sequence[InlineOperation | None]] = (), replace: Replace | None = None
) -> tuple[LoadedPlan, ...]:
    """All plans of a program, ready to run; may be shared by its runs. `inline` is by plan and node."""
    plans = tuple(LoadedPlan(i, plan, inline[i] if inline else None, replace) for i, plan in enumerate(program.plans))
    for plan in plans:
        for i, node in enumerate(plan.nodes):
            if isinstance(node, Repeat):
                plan.turns[i] = TurnPorts(node, len(plans[node.plan].outputs))
    return plans


def _cause(frame: Frame, node: int) -> FailureToken:
    skipped = frame.plan.nodes[node]
    needed = [
        value for p in (*skipped.operands, *skipped.requires) if isinstance(value := frame.values[p], FailureToken)
    ]
    return next((failed for failed in needed if not failed.is_value), needed[0])
