"""`Program`: what the compiler makes and the runtime runs. Plain data, and the content of an artifact.

A *plan* is a flat graph. Its nodes stand in an order in which every edge points forward, so a plan cannot hold a cycle.
A node fires once everything it names in `operands`, `after` and `requires` has arrived:

- `operands`: nodes whose values it uses. If one failed, the node is skipped.
- `after`: nodes that must be over, however they ended (a *settled* order edge, or a value that may not be needed).
- `requires`: nodes that must be over, and whose failure skips this one (a *succeeded* order edge).

A running plan is a *frame*. Constructs that are plans of their own (a `switch`, a loop, a call that was not inlined)
are four kinds of node in the plan around them: an `Opener`, which makes frames of other plans; one `Enter` per thing
delivered into such a frame, passed on as soon as it is there; one `Exit` per thing that comes out of it, each on its
own. So a construct never waits for what it does not use. Inside, the first `inputs` nodes of a plan are its `Input`
ports (values first, then order ports) and its `Output` nodes are what leaves: the `values` first, then order ports.
`Enter.port` and `Exit.port` count from 0 in the opened plan's inputs and outputs.

An opener may open frames again, in *turns*: then what a turn gives can be an input of the next one.
"""

from __future__ import annotations

import json
import os
import typing
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from apxm.errors import UsageError
from apxm.operations.types import RecordField, Type, Value, parse_type
from apxm.program.nodes import Compute, Enter, Exit, Input, Operate, Output
from apxm.program.openers import If, Opener, Repeat, Subflow, Switch, Try
from apxm.source import shortened_left

AnyNode = Input | Operate | Compute | Output | Switch | If | Repeat | Try | Subflow | Enter | Exit


class Plan(Struct, frozen=True, array_like=True, kw_only=True):
    nodes: tuple[AnyNode, ...]
    inputs: int
    """How many of the first nodes are `Input` ports."""
    outputs: tuple[int, ...]
    """The `Output` nodes, by port."""
    values: int = 0
    """How many of the outputs, the first ones, are values; all others are order ports."""

    def openers(self) -> list[tuple[int, Opener]]:
        """The nodes that make frames of other plans, each behind its index."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, Opener)]


class FlowParameter(Struct, frozen=True, array_like=True, kw_only=True):
    name: str
    type: str
    """The type as `str` writes an `apxm.operations.types.Type`: ``list[str]``."""
    required: bool = True
    default: Value = None
    description: str = ""
    """What a model is told of it, where it is a capability's."""

    @property
    def declaration(self) -> str:
        return f"{self.name}: {self.type}" + (
            "" if self.required else f" = {json.dumps(self.default, ensure_ascii=False)}"
        )


class Flow(Struct, frozen=True, array_like=True, kw_only=True):
    """A flow of the source; any may be run. Its parameters are the first inputs of its plan, in order."""

    agent: str
    name: str
    parameters: tuple[FlowParameter, ...]
    result: str | None
    plan: int

    @property
    def qualified_name(self) -> str:
        return f"{self.agent}.{self.name}" if self.agent else self.name  # Python has no agents

    @property
    def signature(self) -> str:
        """The flow's signature as the source declares it: ``research(topic: str, depth: int = 2) -> str``."""
        arguments = ", ".join(p.declaration for p in self.parameters)
        return f"{self.name}({arguments})" + (f" -> {self.result}" if self.result else "")


class Capability(Struct, frozen=True, array_like=True, kw_only=True):
    """A tool as the source declares it: the one declaration of this name, in whichever agents it stands."""

    name: str
    parameters: tuple[FlowParameter, ...]
    result: str
    """The result's type."""
    readonly: bool
    """Whether it changes nothing, so that its calls need no order, and may be made again."""
    description: str = ""
    """What a model is told of it."""

    def arguments(self, records: Mapping[str, Type]) -> Type:
        """The type of the object of all its arguments; `records` are those of the program."""
        defaults = {p.name: None if p.required else json.dumps(p.default) for p in self.parameters}
        fields = [
            RecordField(p.name, parse_type(p.type, records), p.description, defaults[p.name]) for p in self.parameters
        ]
        return Type("", fields=tuple(fields))

    @property
    def signature(self) -> str:
        """The declaration: ``search(q: str, limit: int = 5) -> list[str] readonly``."""
        arguments = ", ".join(p.declaration for p in self.parameters)
        return f"{self.name}({arguments}) -> {self.result}" + (" readonly" if self.readonly else "")


class NodeName(Struct, frozen=True, array_like=True, kw_only=True):
    """What people call a node, and where the source wrote it."""

    path: str
    """Unique within a flow and equal at every -O level: the bound name, else ``operation#occurrence``, behind the
    constructs and arms around it and the calls it was inlined from, joined by ``/``. For what a turn of a loop is
    given, the name that it has there; empty for other ports."""
    line: int = 0
    column: int = 0


class OrderEdge(Struct, frozen=True, array_like=True, kw_only=True):
    """Why two operations of a plan are kept in order, for ``apxm inspect``."""

    source: int
    target: int
    rule: str


class PlanNames(Struct, frozen=True, array_like=True, kw_only=True):
    path: str
    """The flow, and behind it the construct and arm, such as ``Agent.main/routed/technical``."""
    nodes: tuple[NodeName, ...]
    order_edges: tuple[OrderEdge, ...] = ()


class Names(Struct, frozen=True, array_like=True, kw_only=True):
    """The section that a run does not need: names and source positions."""

    file: str
    """Base name of the source file."""
    plans: tuple[PlanNames, ...]

    def file_of(self, _plan: int, /) -> str:
        """The file that a plan was written in."""
        return self.file


class NamesOfFiles(Names, frozen=True, array_like=True, kw_only=True):
    """Those of a program whose plans are written in several files, as a run of Python is."""

    files: tuple[str, ...]
    """The file of each plan."""

    def file_of(self, plan: int, /) -> str:
        return self.files[plan]


Kind = typing.Literal["source", "artifact", "flow", "script"]
"""A flow and a script are Python, of which nothing is in the program but what a run of it came to."""
Origin = tuple[str, Kind]
"""The absolute path of a program's file, and what is there."""
FlowOf = Callable[["Program", str | None], Callable[..., typing.Any]]
"""A function that makes a function of the flow of a program with that name, by default its entry."""


class Program(Struct, frozen=True, array_like=True, kw_only=True, dict=True):
    plans: tuple[Plan, ...]
    """No plan opens itself, directly or through others."""
    flows: tuple[Flow, ...]
    """The flows in the order of the source."""
    entry: int | None
    """Index of the flow that runs when none is named; None where the source marks none and has several."""
    optimization_level: int
    names: Names
    records: tuple[Type, ...] = ()
    """The records that the source declares, each behind those in it. Types are stored as texts that name them."""
    capabilities: tuple[Capability, ...] = ()
    """The tools that the source declares."""

    @property
    def record_types(self) -> dict[str, Type]:
        """The records by name, as `parse_type` takes them."""
        return {record.name: record for record in self.records}

    @property
    def origin(self) -> Origin | None:
        """Where this process has it from; no part of the program, nor of its artifact. None where it was made."""
        return vars(self).get("_origin")

    def came_from(self, path: str, kind: Kind) -> None:
        """Tells of its `origin`, so that a run of it can go on after an edit of that file."""
        vars(self)["_origin"] = os.path.abspath(path), kind

    @property
    def module(self) -> Mapping[str, typing.Any]:
        """The names of the module of Python that has made it, or loaded it; no part of the program either."""
        return vars(self).get("_module", {})

    def belongs_to(self, module: Mapping[str, typing.Any], flows: FlowOf) -> None:
        """Tells of its `module`, and of what makes functions of its flows."""
        vars(self).update(_module=module, _flows=flows)

    def flow(self, name: str | None = None) -> Callable[..., typing.Any]:
        """A flow as a function of Python, by default the entry; in a flow of Python its call is part of that one's run.
        Raises `UsageError` where there is none."""
        flows: FlowOf | None = vars(self).get("_flows")
        if flows is None:
            raise UsageError(f"{self!r} has no functions", hint="make it by apxm.compile(…) or apxm.load(…)")
        return flows(self, name)

    def batch(self, items: Iterable[typing.Any], **options: typing.Any) -> Iterator[typing.Any]:
        """Runs its entry for each of many items, as ``program.flow().batch(items)`` does."""
        flow: typing.Any = self.flow()
        return flow.batch(items, **options)

    def batch_async(self, items: Iterable[typing.Any], **options: typing.Any) -> AsyncGenerator[typing.Any]:
        """As `batch`, inside the caller's event loop."""
        flow: typing.Any = self.flow()
        return flow.batch_async(items, **options)

    def __repr__(self) -> str:
        # On one line, whatever it holds: tracebacks and notebooks show it.
        entry = "none" if self.entry is None else self.flows[self.entry].qualified_name
        file, entry = (shortened_left(name, 24) for name in (self.names.file, entry))
        return f"Program({file!r}, entry={entry!r}, flows={len(self.flows)}, level={self.optimization_level})"
