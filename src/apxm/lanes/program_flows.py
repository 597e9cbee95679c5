"""Flows of AIS that a run of Python calls: their plans stand behind its own, and each call opens frames of them.

docs/design/0032-inside-a-flow.md says why so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from msgspec.structs import replace

from apxm.errors import OperationError, Problems
from apxm.lanes.files import GuestFiles
from apxm.operations.catalog import OPERATIONS
from apxm.operations.definition import Family
from apxm.operations.types import Value
from apxm.program.nodes import Operate
from apxm.program.openers import Opener, Opening, Subflow
from apxm.program.program import Flow, Plan, PlanNames, Program
from apxm.runtime.frames import FailureToken, Frame, LoadedPlan, Scope
from apxm.runtime.handlers.inline import Emit, InlineOperation
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.handlers.tool import ToolCall
from apxm.runtime.scheduler import content_flaws, refuse_missing
from apxm.runtime.state import State, load
from apxm.runtime.turns import Turns
from apxm.runtime.waiting import Binding, Provider, WaitingOperation
from apxm.tools.toolbox import Toolbox

_NO_PLAN = Plan(nodes=(), inputs=0, outputs=())
_NO_NAMES = PlanNames(path="", nodes=())


class FlowCall(Subflow, frozen=True, array_like=True, tag="flow", kw_only=True):
    """The call of a flow of AIS by Python, which goes on when everything in its frames is over."""

    settles: ClassVar[bool] = True


class Guest:
    """A program of AIS in one run of Python."""

    def __init__(self, program: Program, first: int, binding: Binding, tools: Toolbox) -> None:
        """Its plans stand behind the `first` ones of the run. Raises `ArtifactError`."""
        self.first = first
        self.loaded = LoadedProgram(program)
        self.files = GuestFiles(program)
        self.binding = replace(
            binding, tools=tools, declarations=self.loaded.declarations, files=self.files
        )  # fmt: skip
        self.providers: dict[Hashable, Provider] = {}
        """Those of its flows that have been called. They are its own, whoever else asks the same backends: what they
        may read is."""
        for operation in self.operations:
            operation.provider = first, operation.provider
        moved = tuple(replace(plan, nodes=tuple(_moved(node, first) for node in plan.nodes)) for plan in program.plans)
        self.plans = moved
        self.file = program.names.file
        self.names = program.names.plans
        self.records = program.records
        self.handlers = self.loaded.handlers
        self._linked: set[int] = set()

    def operation(self, key: Hashable) -> WaitingOperation:
        """One of those that a provider does."""
        return next(each for each in self.operations if each.provider == key)

    @property
    def operations(self) -> Iterator[WaitingOperation]:
        """All that wait."""
        for plan in self.loaded.handlers:
            yield from (each for each in plan if isinstance(each, WaitingOperation))

    def load(self) -> tuple[LoadedPlan, ...]:
        """Its plans, ready to run among those of the run. Whoever takes their operations writes what they print."""
        room = replace(
            self.loaded.program,
            plans=(*([_NO_PLAN] * self.first), *self.plans),
            names=replace(self.loaded.program.names, plans=(*([_NO_NAMES] * self.first), *self.names)),
        )
        inline = [_inline(plan, found) for plan, found in zip(self.plans, self.handlers, strict=True)]
        return load(room, [*([()] * self.first), *inline])[self.first :]

    def acts(self, flow: Flow) -> bool:
        """Whether a flow may call a tool that changes something."""
        needed = [each for found in self.loaded.linked(flow).needs.values() for each in found]
        return any(isinstance(each, ToolCall) and not each.readonly for each in needed)

    def is_linked(self, flow: Flow) -> bool:
        return flow.plan in self._linked

    async def link(self, flow: Flow, arguments: Sequence[Value]) -> None:
        """Looks for all that a flow needs which is called with these arguments. Raises `UsageError` or
        `ConfigurationError` for what is missing, `LinkError` for several things."""
        needs, problems = self.loaded.linked(flow).needs, Problems()
        found: dict[Hashable, Provider] = {}
        for key, (operation, *_) in needs.items():
            provider = self.providers.get(key) or problems.of(partial(operation.bind, self.binding), None)
            if provider is not None:
                found[key] = provider
        for flaw in content_flaws(self.loaded, flow, arguments, found, self.files):
            problems.add(flaw)
        await refuse_missing(needs, found, problems)
        self.providers |= found
        self._linked.add(flow.plan)


def _moved(node: object, by: int) -> object:
    return node.moved(by) if isinstance(node, Opener) else node


def _inline(plan: Plan, handlers: Sequence[object]) -> tuple[InlineOperation | None, ...]:
    """The operations of a plan that are done where they are taken: all that never wait, but for those that print."""
    return tuple(
        handler if isinstance(handler, InlineOperation) and not prints(node) else None
        for node, handler in zip(plan.nodes, handlers, strict=True)
    )


def prints(node: object) -> bool:
    """Whether a node writes to the program's output."""
    return isinstance(node, Operate) and OPERATIONS[node.operation].family is Family.OUTPUT


class CalledFlow(Scope):
    """One call of a flow. What fails in it fails for the lane that called it."""

    __slots__ = ("_flow", "_outputs", "_place_of", "_state", "frame", "node", "write")

    def __init__(self, state: State, node: int, flow: Flow, write: Emit, place_of: Callable[[int, int], str]) -> None:
        """`node` is the call; `write` writes what the flow prints, and `place_of` is that of the run's trace."""
        super().__init__()
        self._state = state
        self._flow = flow
        self._outputs: dict[int, Value] = {}
        self._place_of = place_of
        self.node = node
        self.write = write
        self.frame: Frame | None = None
        """The flow's own frame."""

    def begin(self, around: Frame, plan: LoadedPlan, arguments: Sequence[Value]) -> None:
        """Opens the flow's frame."""
        self.open += 1  # until it has its frame: that may be over at once
        given = {port: arguments[port] if port < len(arguments) else None for port in range(plan.inputs)}
        self.frame = self._state.open(plan, around, self.node, 0, self, 0, self, given)
        self.over()

    def enter(self, port: int, value: Value) -> None:
        """Nothing does: its arguments are there when it begins."""

    def output(self, child: Frame, port: int, value: Value) -> None:
        del child
        self._outputs[port] = value

    def closed(self, child: Frame) -> None:
        """The flow's own frame is over, though perhaps not those below it."""

    def live(self) -> Sequence[Frame]:
        return () if self.frame is None else (self.frame,)

    def openings(self) -> Sequence[Opening]:
        return (Opening((self._flow.plan,)),)

    def over(self) -> None:
        self.open -= 1
        if self.open or self.frame is None or self.frame.parent is None:
            return
        failure = self._first_failure()
        around = self.frame.parent
        if failure is None:
            value = self._outputs.get(0) if self._flow.result is not None else None
            self._state.succeed(around, self.node, value)
        else:
            self._state.caught += self.failures
            self._state.broke(around, self.node, self._told(failure))

    def _first_failure(self) -> FailureToken | None:
        """What failed first in the order of the program. A value that it gives and cannot compute counts."""
        frame = self.frame
        assert frame is not None
        for port, value in self._outputs.items():
            if isinstance(value, FailureToken) and value.is_value:
                self.failures.append(FailureToken(frame, frame.plan.outputs[port], value.error))
        return min(self.failures, key=lambda failure: failure.frame.place(failure.node), default=None)

    def _told(self, failure: FailureToken) -> OperationError:
        """A failure as Python hears of it."""
        error = failure.error
        place = self._place_of(failure.frame.index, failure.node)
        return OperationError(error.kind, error.message, where=place, hint=error.hint)

    def frames(self) -> list[Frame]:
        """All that are open."""
        found = list(self.live())
        for frame in found:  # it grows while it is read
            for child in frame.children.values():
                if isinstance(child, Frame):
                    found.append(child)
                elif child is not None:
                    found += child.live()
        return found

    def drop(self) -> list[Frame]:
        """Nobody wants anything of it any more: nothing of its frames is taken. Gives those that were open."""
        state, frames = self._state, self.frames()
        dropped = set(map(id, frames))
        left = [item for item in state.ready if id(item[0]) not in dropped]
        state.ready.clear()
        state.ready.extend(left)
        state.open_turns -= sum(isinstance(frame.via, Turns) for frame in frames if frame.remaining)
        return frames


def called_of(frame: Frame) -> CalledFlow:
    """The call that a frame of AIS is part of."""
    while frame.parent is not None and frame.parent.parent is not None:
        frame = frame.parent
    assert isinstance(frame.via, CalledFlow)
    return frame.via
