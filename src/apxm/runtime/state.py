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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

from apxm.errors import OperationError
from apxm.operations.labels import matching_label
from apxm.operations.types import Value
from apxm.program.program import AnyNode, Compute, Enter, Exit, Input, Operate, Output, Plan, Program, Subflow, Switch
from apxm.program.unfolding import FrameRecord
from apxm.runtime.expressions import Evaluate, Failed, Needed, evaluator
from apxm.runtime.handlers.inline import Emit, InlineOperation
from apxm.source import shortened

Replace = Callable[[int, int, AnyNode, Evaluate], Evaluate]
"""What is to compute the value of a node, given its plan, its index there, itself, and what the program says."""


@dataclass(frozen=True)
class FailureToken(Failed):
    """The token of something that failed, or was skipped because of it."""

    frame: Frame
    node: int
    error: OperationError
    is_value: bool = False


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
        self.enters: dict[int, list[int]] = {}
        self.exits: dict[int, dict[int, int]] = {}
        for i, node in enumerate(nodes):
            predecessors = {*node.operands, *node.after, *node.requires}
            for p in predecessors:
                successors[p].append(i)
            self.counts.append(len(predecessors) + isinstance(node, Input | Exit))
            if isinstance(node, Enter):
                self.enters.setdefault(node.opener, []).append(i)
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
                evaluate = evaluator(node.computes, node.operands, node.after)
                self.evaluators[i] = replace(index, i, node, evaluate) if replace else evaluate


class Frame:
    """A plan while it runs."""

    __slots__ = ("base", "children", "counts", "index", "opener", "parent", "plan", "poisoned", "remaining", "values")

    def __init__(self, plan: LoadedPlan, index: int, parent: Frame | None, opener: int, base: int) -> None:
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
        self.children: dict[int, Frame | None] = {}
        """The frame of each opener; None once it is over, or where it could not be opened."""
        self.poisoned: set[int] | None = None
        """Nodes that will be skipped."""
        self.remaining = len(plan.nodes)


class State:
    """One run of one plan. `results` holds what left it by its output ports: a value, or a `FailureToken`."""

    def __init__(
        self, plans: Sequence[LoadedPlan], emit: Emit = lambda _line: None, handed_out: int | None = None
    ) -> None:
        """One in `handed_out` of the operations that never wait is given to whoever takes, to be run and clocked there;
        without it, none."""
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
        self.failures: list[FailureToken] = []
        """The failures in the order in which they happened."""
        self.failed = 0
        """Operations that failed; the other failures are of a `switch` without a match, and the like."""
        self.skipped = 0
        """Operations that will never start because something they need failed."""

    def start(self, plan: int, arguments: Sequence[Value]) -> Frame:
        """Opens the first frame. `arguments` are its value inputs; order is free from the start."""
        frame = self._open(self.plans[plan], None, -1, 0)
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

    def _open(self, plan: LoadedPlan, parent: Frame | None, opener: int, base: int) -> Frame:
        frame = Frame(plan, len(self.frames), parent, opener, base)
        self.frames.append(FrameRecord(plan.index, parent.index if parent else -1, opener))
        self.ready.extend(zip(repeat(frame), plan.sources))
        if frame.remaining:
            self.open_frames += 1
        return frame

    def _close(self, frame: Frame) -> None:
        self.open_frames -= 1
        if frame.parent is not None:
            frame.parent.children[frame.opener] = None

    def _open_child(self, frame: Frame, opener: int, plan: int, priority: int) -> None:
        child = self._open(self.plans[plan], frame, opener, frame.base + priority)
        frame.children[opener] = child
        for enter in frame.plan.enters.get(opener, ()):
            if frame.counts[enter] == _DELIVERED:
                self._deliver(child, frame, enter)

    def _deliver(self, child: Frame, frame: Frame, enter: int) -> None:
        node = frame.plan.nodes[enter]
        assert isinstance(node, Enter)
        self._pass_on(child, node.port, frame.values[enter])

    def _refuse_child(self, frame: Frame, opener: int, failure: FailureToken) -> None:
        """The frame will never exist: everything that would have left it fails."""
        frame.children[opener] = None
        for exit_ in frame.plan.exits.get(opener, {}).values():
            frame.values[exit_] = failure
            self._arrive(frame, exit_)
        self.fail(frame, opener, failure)

    # --- nodes that are not operations -----------------------------------------------------------------------------

    def _compute(self, frame: Frame, node: int) -> None:
        self._pass_on(frame, node, self._value(frame, node))

    def _output(self, frame: Frame, node: int) -> None:
        value = self._value(frame, node)
        output = frame.plan.nodes[node]
        assert isinstance(output, Output)
        parent = frame.parent
        if parent is None:
            self.results[output.port] = value
            if isinstance(value, FailureToken) and value.is_value:
                self._record(FailureToken(frame, node, value.error))
        else:
            exit_ = parent.plan.exits.get(frame.opener, {}).get(output.port)
            if exit_ is not None:
                parent.values[exit_] = value
                self._arrive(parent, exit_)
        self._pass_on(frame, node, value)

    def _enter(self, frame: Frame, node: int) -> None:
        value = self._value(frame, node)
        frame.counts[node] = _DELIVERED
        self._pass_on(frame, node, value)
        enter = frame.plan.nodes[node]
        assert isinstance(enter, Enter)
        child = frame.children.get(enter.opener)
        if child is not None:
            self._deliver(child, frame, node)

    def _exit(self, frame: Frame, node: int) -> None:
        self._pass_on(frame, node, frame.values[node])

    def _switch(self, frame: Frame, node: int) -> None:
        selector = self._value(frame, node)
        if isinstance(selector, FailureToken):
            if selector.is_value:
                self._refuse(frame, node, selector.error)
            else:
                self._refuse_child(frame, node, selector)
            return
        switch = frame.plan.nodes[node]
        assert isinstance(switch, Switch)
        if not isinstance(selector, str):  # only in an artifact that somebody wrote by hand
            error = OperationError("wrong_type", f"expected a str, found a {type(selector).__name__}")
            self._refuse(frame, node, error)
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
        except Needed as needed:
            return needed.failed
        except OperationError as error:
            return FailureToken(frame, node, error, is_value=True)

    # --- tokens ----------------------------------------------------------------------------------------------------

    def _pass_on(self, frame: Frame, node: int, value: Value) -> None:
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


_DELIVERED = -1
"""The count of an `Enter` whose token is there: it may be, before the frame it goes to exists."""

Action = Callable[[State, Frame, int], None]

_ACTIONS: dict[type[AnyNode], Action | None] = {
    Operate: None,
    Input: None,
    Compute: State._compute,  # pyright: ignore[reportPrivateUsage] - the table belongs to the class
    Output: State._output,  # pyright: ignore[reportPrivateUsage]
    Switch: State._switch,  # pyright: ignore[reportPrivateUsage]
    Subflow: State._call,  # pyright: ignore[reportPrivateUsage]
    Enter: State._enter,  # pyright: ignore[reportPrivateUsage]
    Exit: State._exit,  # pyright: ignore[reportPrivateUsage]
}


def load(
    program: Program, inline: Sequence[Sequence[InlineOperation | None]] = (), replace: Replace | None = None
) -> tuple[LoadedPlan, ...]:
    """All plans of a program, ready to run; may be shared by its runs. `inline` is by plan and node."""
    return tuple(LoadedPlan(i, plan, inline[i] if inline else None, replace) for i, plan in enumerate(program.plans))


def _cause(frame: Frame, node: int) -> FailureToken:
    skipped = frame.plan.nodes[node]
    needed = [
        value for p in (*skipped.operands, *skipped.requires) if isinstance(value := frame.values[p], FailureToken)
    ]
    return next((failed for failed in needed if not failed.is_value), needed[0])
