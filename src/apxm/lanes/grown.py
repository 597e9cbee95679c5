"""The program that a run of Python grows, and what its operations come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

from apxm.errors import OperationError
from apxm.lanes.lane import Lane
from apxm.lanes.program_flows import CalledFlow, Guest
from apxm.operations.types import Value
from apxm.program.nodes import Operate
from apxm.program.program import AnyNode, Flow, Kind, NamesOfFiles, NodeName, Plan, PlanNames, Program
from apxm.runtime.frames import Action, Frame
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.state import State
from apxm.runtime.waiting import Call


class Grown:
    """The program that a run of Python comes to: one plan, to which each operation is added as it begins, behind the
    operations that the sequential program would have waited for."""

    def __init__(self, name: str, file: str, kind: Kind = "flow") -> None:
        self.nodes: list[AnyNode] = []
        self.names: list[NodeName] = []
        # Plans hold tuples, which cannot grow. Whoever reads them meanwhile only looks nodes up.
        plan = Plan(nodes=cast("tuple[Operate, ...]", self.nodes), inputs=0, outputs=(), values=0)
        names = PlanNames(path=name, nodes=cast("tuple[NodeName, ...]", self.names), order_edges=())
        self.flow = Flow(agent="", name=name, parameters=(), result=None, plan=0)
        named = NamesOfFiles(file=file, plans=(names,), files=(file,))
        self.program = Program(plans=(plan,), flows=(self.flow,), entry=0, optimization_level=0, names=named)
        self.program.came_from(file, kind)

    def freeze(self) -> None:
        """The run is over, and nothing more is added."""
        self.program = self.frozen()

    def frozen(self) -> Program:
        """The program as it is now."""
        (plan, *others), (names, *more) = self.program.plans, self.program.names.plans
        plans = (replace(plan, nodes=tuple(self.nodes)), *others)
        named = replace(self.program.names, plans=(replace(names, nodes=tuple(self.names)), *more))
        return self._from_here(replace(self.program, plans=plans, names=named))

    def _from_here(self, program: Program) -> Program:
        origin = self.program.origin
        assert origin is not None
        program.came_from(*origin)
        return program

    def host(self, guest: Guest) -> None:
        """Adds the plans of a program of AIS."""
        program, names = self.program, cast(NamesOfFiles, self.program.names)
        records = {each.name: each for each in (*program.records, *guest.records)}
        self.program = self._from_here(
            replace(
                program,
                plans=(*program.plans, *guest.plans),
                names=replace(
                    names, plans=(*names.plans, *guest.names), files=(*names.files, *([guest.file] * len(guest.names)))
                ),
                records=tuple(records.values()),
            )
        )

    def add(self, node: AnyNode, path: str = "", line: int = 0) -> int:
        """Adds a node, and gives its number."""
        self.nodes.append(node)
        self.names.append(NodeName(path=path, line=line, column=1 if line else 0))
        return len(self.nodes) - 1


class Site(Struct, frozen=True, gc=False):
    """Where a call stands. A `Struct`, as making one costs a fifth of a tuple with names."""

    path: str
    """That of its lane, and its place, such as ``label:9[17]``."""
    line: int


class Asked(Struct, eq=False):
    """A call that a lane has made, and what came of it."""

    lane: Lane
    node: int
    call: Call | None = None
    """None where an earlier process made it, or it is a flow of AIS."""
    flow: CalledFlow | None = None
    made: Callable[[Value], Any] | None = None
    """Makes of the answer what the code wants; None where that is the answer."""
    awaited: bool = False
    then: Callable[[], object] | None = None
    """Called when it is over, where its lane does something else meanwhile."""
    over: bool = False
    value: Value = None
    error: OperationError | None = None


class AnsweredOperations(State):
    """What `Calls` tells of its answers. Of Python's own frame, the first one, `ready` has the operations that are
    over, and whose lanes may go on; of frames of AIS it has what any state has."""

    def __init__(self, program: LoadedProgram, answered: Callable[[int], None]) -> None:
        """`answered` is told of each of Python's own operations that is over."""
        super().__init__(program.program, program.plans)
        self.asked: dict[int, Asked] = {}
        """The calls that are under way, by their nodes."""
        (own,) = program.plans
        own.inline = cast("tuple[None, ...]", _Always(None))

        def told(_state: object, _frame: Frame, node: int) -> None:
            answered(node)

        own.actions = cast("tuple[Action, ...]", _Always(told))

    def start(self, plan: int, arguments: Sequence[Value]) -> Frame:
        """Makes the one frame that there is."""
        frame = super().start(plan, arguments)
        self.open_frames = 0
        return frame

    def host(self, program: Program, guest: Guest) -> None:
        """Adds the plans of a program of AIS; `program` has them already."""
        self.program, self.plans = program, (*self.plans, *guest.load())

    def succeed(self, frame: Frame, node: int, value: Value) -> None:
        if frame.parent is not None:
            super().succeed(frame, node, value)
            return
        self.asked[node].value = value
        self.ready.append((frame, node))

    def broke(self, frame: Frame, node: int, error: OperationError) -> None:
        if frame.parent is not None:
            super().broke(frame, node, error)
            return
        self.failed += self.asked[node].flow is None
        error.__traceback__ = None  # as in `FailureToken`
        self.asked[node].error = error
        self.ready.append((frame, node))


class _Always:
    """The same at each place of a plan that grows."""

    def __init__(self, thing: object) -> None:
        self._thing = thing

    def __getitem__(self, node: int) -> object:
        return self._thing
