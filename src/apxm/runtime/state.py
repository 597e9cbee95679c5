"""The dataflow state of one run: tokens in, operations to start out. It knows no clock, no task and no network.

Each node counts the tokens it still needs (`program.program` says which); at zero it is taken. What never waits is done
here, where it is taken. An operation that waits is handed out by `take`, and comes back through `succeed` or `fail`.
`frames` has what all kinds of node have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

from apxm.errors import OperationError
from apxm.operations.labels import matching_label
from apxm.operations.plain import kind_of
from apxm.operations.types import Value
from apxm.program.expressions import Expression, Logic, Operand, parts_of
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import If, Repeat, Subflow, Switch, Try
from apxm.program.program import AnyNode, Program
from apxm.runtime.expressions import Needed, evaluator
from apxm.runtime.frames import Action, FailureToken, Frame, Frames, LoadedPlan, Replace
from apxm.runtime.handlers.inline import Emit, InlineOperation
from apxm.runtime.ports import TurnPorts
from apxm.runtime.trials import Trial
from apxm.runtime.turns import Turns
from apxm.source import shortened


class State(Frames):
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
        super().__init__(program)
        self.plans = plans
        self.emit = emit
        self._handed_out = handed_out or 1  # divided by which nothing leaves 1
        self.ran_inline = 0
        """Operations that are over, well or badly, and never waited."""
        self.results: dict[int, Value] = {}
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

    def broke(self, frame: Frame, node: int, error: OperationError) -> None:
        """The operation is over and failed."""
        self.failed += 1
        failure = self.record(FailureToken(frame, node, error))
        self.fail(frame, node, failure)

    def _skip(self, frame: Frame, node: int) -> None:
        """The operation cannot start."""
        cause = _cause(frame, node)
        if cause.is_value:
            self.ran_inline += 1
            self.broke(frame, node, cause.error)
        else:
            self.skipped += 1
            self.fail(frame, node, cause)

    # --- frames ----------------------------------------------------------------------------------------------------

    def _open_child(self, frame: Frame, opener: int, plan: int, priority: int) -> None:
        base = frame.base + priority
        child = self.open(self.plans[plan], frame, opener, base, None, 0, frame.scope, self._entered(frame, opener))
        if child.remaining:
            frame.children[opener] = child

    def _entered(self, frame: Frame, opener: int) -> Mapping[int, Value]:
        """What is there already of what enters the frames of `opener`, by port."""
        enters = frame.plan.enters.get(opener)
        if enters is None:
            return _NOTHING
        counts, values = frame.counts, frame.values
        return {port: values[enter] for enter, port in enters.items() if counts[enter] == _DELIVERED}

    def _refuse_child(self, frame: Frame, opener: int, failure: FailureToken) -> None:
        """The frame will never exist: everything that would have left it fails."""
        frame.children[opener] = None
        for exit_ in frame.plan.exits.get(opener, {}).values():
            frame.values[exit_] = failure
            self.arrive(frame, exit_)
        self.fail(frame, opener, failure)

    # --- nodes that are not operations -----------------------------------------------------------------------------

    def _compute(self, frame: Frame, node: int) -> None:
        self.pass_on(frame, node, self._value(frame, node))

    def _output(self, frame: Frame, node: int) -> None:
        value = self._value(frame, node)
        port = frame.plan.ports[node]
        parent = frame.parent
        if parent is None:
            self.results[port] = value
            if isinstance(value, FailureToken) and value.is_value:
                self.record(FailureToken(frame, node, value.error))
        elif frame.via is not None:
            frame.via.output(frame, port, value)
        else:
            self.leave(parent, frame.opener, port, value)
        self._end(frame, node, value)

    def _enter(self, frame: Frame, node: int) -> None:
        value = self._value(frame, node)
        frame.counts[node] = _DELIVERED
        frame.values[node] = value
        enter = frame.plan.nodes[node]
        assert isinstance(enter, Enter)
        child = frame.children.get(enter.opener)
        if isinstance(child, Frame):
            self.pass_on(child, enter.port, value)
        elif child is not None:
            child.enter(enter.port, value)
        self._end(frame, node, value)

    def _end(self, frame: Frame, node: int, value: Value) -> None:
        """A port is over: `pass_on`, quicker where nothing in its frame waits for it."""
        if frame.plan.successors[node]:
            self.pass_on(frame, node, value)
            return
        frame.remaining -= 1
        if not frame.remaining:
            self._close(frame)

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
        takes_items = repeat_.items is not None
        limit, items = cast("list[Value]", found if takes_items else [found, []])
        if not isinstance(limit, int) or isinstance(limit, bool):
            self._refuse_value(frame, node, limit, "int")
        elif limit < 1:
            error = OperationError("out_of_range", f"`max` of `{repeat_.called}` is at least 1, and this is {limit}")
            self._refuse(frame, node, error)
        elif not isinstance(items, list):
            self._refuse_value(frame, node, items, "list")
        else:
            taken = cast("list[Value]", items)
            if len(taken) > limit:
                message = f"a list of {len(taken):,} items, and `max` of `{repeat_.called}` is {limit:,}"
                self._refuse(frame, node, OperationError("too_many_items", message))
                return
            plan = self.plans[repeat_.plan]
            count = len(taken) if takes_items else limit
            self._begin(frame, node, Turns(self, frame, node, frame.plan.turns[node], plan, count, taken))

    def _try(self, frame: Frame, node: int) -> None:
        attempt = frame.plan.nodes[node]
        assert isinstance(attempt, Try)
        self._begin(frame, node, Trial(self, frame, node, attempt, self.plans))

    def _begin(self, frame: Frame, node: int, children: Turns | Trial) -> None:
        frame.children[node] = children
        for port, value in self._entered(frame, node).items():
            children.enter(port, value)
        children.begin()
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
        failure = self.record(FailureToken(frame, opener, error))
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
        evaluate = frame.plan.evaluators[node]
        if evaluate is None:
            return None
        try:
            return evaluate(frame.values)
        except Needed as needed:
            return needed.failed
        except OperationError as error:
            return FailureToken(frame, node, error, is_value=True)


_NOTHING: Mapping[int, Value] = MappingProxyType({})
_DELIVERED = -1
"""The count of an `Enter` whose token is there: it may be, before the frame it goes to exists."""

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
    plans = tuple(
        LoadedPlan(i, plan, inline[i] if inline else None, replace, _ACTIONS) for i, plan in enumerate(program.plans)
    )
    for plan in plans:
        for i, node in enumerate(plan.nodes):
            if isinstance(node, Repeat):
                plan.turns[i] = TurnPorts(node, len(plans[node.plan].outputs))
    return plans


def _cause(frame: Frame, node: int) -> FailureToken:
    """Why a node cannot be done: what failed before it or, where it was only not computed, the first thing that cannot
    be, in the order in which the node computes: wherever values are computed, it is the same one."""
    skipped = frame.plan.nodes[node]
    needed = [
        value for p in (*skipped.operands, *skipped.requires) if isinstance(value := frame.values[p], FailureToken)
    ]
    for failed in needed:
        if not failed.is_value:
            return failed
    expressions = (skipped.computes,)
    if isinstance(skipped, Operate):
        expressions = (*skipped.arguments, *skipped.options.values())
    for expression in expressions:
        flaw = None if expression is None else _flaw(expression, skipped.operands, frame.values)
        if flaw is not None:
            return FailureToken(frame, node, flaw, is_value=True)
    return needed[0]


def _flaw(expression: Expression, operands: tuple[int, ...], values: list[Value]) -> OperationError | None:
    """The first thing in an expression that cannot be computed."""
    if isinstance(expression, Operand):
        value = values[operands[expression.index]]
        return value.error if isinstance(value, FailureToken) else None
    parts = parts_of(expression)
    if isinstance(expression, Logic):  # what stands behind its first part does not fail it before it is asked for
        return _flaw(parts[0], operands, values)
    for part in parts:
        flaw = _flaw(part, operands, values)
        if flaw is not None:
            return flaw
    try:
        evaluator(expression, operands)(values)
    except OperationError as error:
        return error
    return None
