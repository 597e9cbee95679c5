"""Frames and the tokens that go through them: what every kind of node has in common.

A failure travels as a token like any other, so that a node is skipped exactly when it would have fired: order edges
hold for skipped operations too. Which failure a skipped operation names is the first in the order of its operands, not
the first to arrive.

A value that cannot be computed travels likewise, and is nobody's failure until something needs it: then it is that
operation's, as if the operation had computed the value itself. So it does not matter where a value is computed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from types import MappingProxyType
from typing import Any, NamedTuple

from apxm.errors import OperationError
from apxm.operations.types import Value
from apxm.program.frames import MOST_OPEN_TURNS
from apxm.program.nodes import Enter, Exit, Input, Output
from apxm.program.openers import Opening
from apxm.program.program import AnyNode, Plan, Program
from apxm.program.unfolding import FrameTable
from apxm.runtime.expressions import Evaluate, Failed, evaluator
from apxm.runtime.handlers.inline import InlineOperation
from apxm.runtime.ports import TurnPorts

Replace = Callable[[int, int, AnyNode, Evaluate], Evaluate]
"""What is to compute the value of a node, given its plan, its index there, itself, and what the program says."""
Action = Callable[[Any, "Frame", int], None]
"""What a state does at a node of a frame."""
_NO_EXITS: Mapping[int, int] = MappingProxyType({})
_CHILDLESS: dict[int, Frame | Children | None] = {}
"""The children of frames that can have none."""


@dataclass(frozen=True)
class FailureToken(Failed):
    """The token of something that failed, or was skipped because of it."""

    frame: Frame
    node: int
    error: OperationError
    is_value: bool = False

    def __post_init__(self) -> None:
        # The frames of a traceback lead to all that called them, and so to calls, which the collector does not look at:
        # whoever has the run's failures would keep the run for good.
        self.error.__traceback__ = None


class Begun(NamedTuple):
    """How a frame begins."""

    counts: list[int]
    """The tokens that each node still needs."""
    ready: tuple[int, ...]
    """The nodes that need none."""


_MOST_BEGUN = 32


class LoadedPlan:
    """A plan, made ready to run: flat tuples by node."""

    __slots__ = (
        "actions",
        "begun",
        "counts",
        "enters",
        "evaluators",
        "exits",
        "index",
        "inline",
        "inputs",
        "nodes",
        "opens",
        "outputs",
        "ports",
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
        actions: Mapping[type[AnyNode], Action | None] = MappingProxyType({}),
    ) -> None:
        """`inline` has the operations that never wait, by node; without it every operation is handed out. `actions`
        says what is done at a node of each kind."""
        nodes = plan.nodes
        self.index = index
        self.inline = (None,) * len(nodes) if inline is None else tuple(inline)
        self.inputs = plan.inputs
        self.outputs = plan.outputs
        self.nodes: tuple[AnyNode, ...] = nodes
        self.opens = bool(plan.openers())
        """Whether its frames can have children."""
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
        self.actions: tuple[Action | None, ...] = tuple(actions.get(type(node)) for node in nodes)
        """What `State.take` does at a node; None for an operation."""
        self.ports: tuple[int, ...] = tuple(
            node.port if isinstance(node, Enter | Exit | Output) else -1 for node in nodes
        )
        """The ports of the nodes that have one."""
        self.evaluators: tuple[Evaluate | None, ...] = tuple(map(self._evaluator, range(len(nodes)), repeat(replace)))
        """What computes the values of the nodes, but operations, that have one."""
        self.begun: dict[tuple[int, ...], Begun] = {(): Begun(self.counts, self.sources)}
        """How frames begin in which some inputs have a value at once, by those inputs."""

    def _evaluator(self, node: int, replace: Replace | None) -> Evaluate | None:
        found = self.nodes[node]
        if found.computes is None:
            return None
        evaluate = evaluator(found.computes, found.operands, found.after)
        return replace(self.index, node, found, evaluate) if replace else evaluate

    def begin(self, inputs: tuple[int, ...]) -> Begun | None:
        """How a frame begins in which `inputs` have a value at once; None where it is to begin without, and they are
        delivered: there are too many sets of them to keep them all."""
        begun = self.begun.get(inputs)
        if begun is None and len(self.begun) < _MOST_BEGUN:
            counts, ready = self.counts.copy(), list(self.sources)
            for port in inputs:
                for successor in self.successors[port]:
                    counts[successor] -= 1
                    if not counts[successor]:
                        ready.append(successor)
            # What enters a frame goes before what opens it, which then has it all at once.
            ready.sort(key=self.enters.__contains__)
            begun = self.begun[inputs] = Begun(counts, tuple(ready))
        return begun


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
        via: Children | None = None,
        turn: int = 0,
        scope: Scope | None = None,
        counts: list[int] | None = None,
    ) -> None:
        """`counts` are the tokens that its nodes need; by default those of its plan."""
        self.plan = plan
        self.index = index
        self.parent = parent
        self.opener = opener
        """The node in `parent` that opened this frame."""
        self.base = base
        """Longest path from the end of this frame to the end of the run, in ms: added to a node's own priority."""
        self.counts = (counts or plan.counts).copy()
        self.values: list[Value] = [None] * len(plan.nodes)
        """What each node gave, once it is over; a `FailureToken` where it failed."""
        self.via = via
        """Who sees to what leaves it; None where that goes out at the exits at once."""
        self.turn = turn
        """Which of the turns of its opener it is, from 1; 0 where there are none."""
        self.scope = scope
        """The innermost body of a `try` that it is part of."""
        self.children: dict[int, Frame | Children | None] = {} if plan.opens else _CHILDLESS
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


class Children(ABC):
    """Whoever sees to the frames of an opener that makes more than one, or lets nothing out before all is over."""

    __slots__ = ()

    @abstractmethod
    def enter(self, port: int, value: Value) -> None:
        """Something for the frames arrived in the frame around them."""

    @abstractmethod
    def output(self, child: Frame, port: int, value: Value) -> None:
        """Something leaves a frame."""

    @abstractmethod
    def closed(self, child: Frame) -> None:
        """A frame is over."""

    @abstractmethod
    def live(self) -> Sequence[Frame]:
        """The frames that are open."""

    @abstractmethod
    def openings(self) -> Sequence[Opening]:
        """The frames that there have been, and those that may come."""


class Scope(Children):
    """Frames of which the failures stay inside, with those of all frames below them."""

    __slots__ = ("failures", "open")

    def __init__(self) -> None:
        self.open = 0
        """How many of the frames are not over."""
        self.failures: list[FailureToken] = []
        """What failed inside and was not caught further inside, in the order in which it happened."""

    @abstractmethod
    def over(self) -> None:
        """One of the frames is over."""


class Frames:
    """The frames of one run, and the tokens in them. `State` adds what each kind of node does."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ready: deque[tuple[Frame, int]] = deque()
        self.stopped = False
        """Set from outside, also from within `emit`, or by a failure: then nothing more is taken."""
        self.ends_at_failure = False
        """Whether the first failure stops it."""
        self.frames = FrameTable()
        self.open_frames = 0
        self.open_turns = 0
        """How many turns of all openers are open."""
        self.max_open_turns = MOST_OPEN_TURNS
        self.failures: list[FailureToken] = []
        """The failures that nothing caught, in the order in which they happened."""
        self.caught: list[FailureToken] = []
        """The others."""

    # --- tokens ----------------------------------------------------------------------------------------------------

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

    def fail(self, frame: Frame, node: int, failure: FailureToken) -> None:
        """The node is over and failed, or was skipped; those that only come `after` it go ahead."""
        frame.values[node] = failure
        nodes = frame.plan.nodes
        for successor in frame.plan.successors[node]:
            if node in nodes[successor].operands or node in nodes[successor].requires:
                self._poison(frame, successor)
            self.arrive(frame, successor)
        frame.remaining -= 1
        if not frame.remaining:
            self._close(frame)

    def pass_on(self, frame: Frame, node: int, value: Value) -> None:
        """The node is over and gave `value`, be that a failure."""
        if type(value) is FailureToken:
            self.fail(frame, node, value)
        else:
            self.succeed(frame, node, value)

    def arrive(self, frame: Frame, node: int) -> None:
        frame.counts[node] -= 1
        if not frame.counts[node]:
            self.ready.append((frame, node))

    def _poison(self, frame: Frame, node: int) -> None:
        if frame.poisoned is None:
            frame.poisoned = set()
        frame.poisoned.add(node)

    # --- frames ----------------------------------------------------------------------------------------------------

    def open(
        self,
        plan: LoadedPlan,
        parent: Frame | None,
        opener: int,
        base: int,
        via: Children | None = None,
        turn: int = 0,
        scope: Scope | None = None,
        given: Mapping[int, Value] = MappingProxyType({}),
    ) -> Frame:
        """A new frame, into which nothing is delivered but what is `given`, by input port."""
        # To begin with all that is there costs a third of delivering it.
        begun = plan.begin(tuple(given))
        for value in given.values():
            if type(value) is FailureToken:
                begun = None
        counts, ready = begun or plan.begun[()]
        index = self.frames.add(plan.index, -1 if parent is None else parent.index, opener, turn)
        frame = Frame(plan, index, parent, opener, base, via, turn, scope, counts)
        if ready:
            self.ready.extend(zip(repeat(frame), ready))
        if frame.remaining:
            self.open_frames += 1
            if scope is not None:
                scope.open += 1
        if begun is None:
            for port, value in given.items():
                self.pass_on(frame, port, value)
        elif given:
            for port, value in given.items():
                frame.values[port] = value
            frame.remaining -= len(given)
            if not frame.remaining:
                self._close(frame)
        return frame

    def _close(self, frame: Frame) -> None:
        if frame.via is not None:
            frame.via.closed(frame)
        elif frame.parent is not None:
            frame.parent.children[frame.opener] = None
        self.open_frames -= 1
        if frame.scope is not None:
            frame.scope.over()

    def leave(self, frame: Frame, opener: int, port: int, value: Value) -> None:
        """Something leaves the frames that `opener` of `frame` opened."""
        exit_ = frame.plan.exits.get(opener, _NO_EXITS).get(port)
        if exit_ is None:
            return
        counts = frame.counts
        counts[exit_] -= 1
        if counts[exit_]:
            frame.values[exit_] = value
        else:
            self.pass_on(frame, exit_, value)

    def record(self, failure: FailureToken) -> FailureToken:
        if failure.frame.scope is not None:
            failure.frame.scope.failures.append(failure)
            return failure
        self.failures.append(failure)
        if self.ends_at_failure:
            self.stopped = True
        return failure
