"""`Program`: what the compiler makes and the runtime runs. Plain data, and the content of an artifact.

A *plan* is a flat graph. Its nodes stand in an order in which every edge points forward, so a plan cannot hold a cycle.
A node fires once everything it names in `operands`, `after` and `requires` has arrived:

- `operands`: nodes whose values it uses. If one failed, the node is skipped.
- `after`: nodes that must be over, however they ended (a *settled* order edge, or a value that may not be needed).
- `requires`: nodes that must be over, and whose failure skips this one (a *succeeded* order edge).

A running plan is a *frame*. Constructs that are plans of their own (a `switch`, a call that was not inlined) are four
kinds of node in the plan around them: an opener (`Switch` or `Subflow`), which makes frames of other plans; one
`Enter` per thing delivered into that frame, passed on as soon as it is there; one `Exit` per thing that comes out of
it, each on its own. So a construct never waits for what it does not use. Inside, the first `inputs` nodes of a plan are
its `Input` ports (values first, then order ports) and its `Output` nodes are what leaves: the value first if there is
one, then order ports. `Enter.port` and `Exit.port` count from 0 in the opened plan's inputs and outputs.
"""

from __future__ import annotations

import json
import os
import typing
from typing import ClassVar, NamedTuple

from msgspec import Struct

from apxm.operations.types import Type, Value
from apxm.source import shortened_left

# --- expressions: values computed where they are used, at no node's cost -------------------------------------------


Connective = typing.Literal["and", "or"]


class Literal(Struct, frozen=True, array_like=True, tag="literal"):
    value: Value


class Operand(Struct, frozen=True, array_like=True, tag="operand"):
    """The value of the node `operands[index]` of the node that holds this expression."""

    index: int


class TextOf(Struct, frozen=True, array_like=True, tag="text"):
    """The text forms of `parts`, joined."""

    parts: tuple[Expression, ...]


class Sum(Struct, frozen=True, array_like=True, tag="sum"):
    """Numbers added from left to right."""

    parts: tuple[Expression, ...]


class ListOf(Struct, frozen=True, array_like=True, tag="list"):
    items: tuple[Expression, ...]


class DictOf(Struct, frozen=True, array_like=True, tag="dict"):
    keys: tuple[str, ...]
    values: tuple[Expression, ...]


class Field(Struct, frozen=True, array_like=True, tag="field"):
    """The entry `name` of an object; an operation that meets none fails with `missing_field`."""

    of: Expression
    name: str


class Apply(Struct, frozen=True, array_like=True, tag="apply"):
    """What a function of `operations.functions` gives for the arguments; where that is nothing, its users fail."""

    function: str
    arguments: tuple[Expression, ...]


class Logic(Struct, frozen=True, array_like=True, tag="logic"):
    """``and`` or ``or`` of bools: those behind the first that decides it are not computed."""

    operator: Connective
    parts: tuple[Expression, ...]


class Settled(Struct, frozen=True, array_like=True, tag="settled"):
    """The value of the node `after[index]` of the `Compute` that holds this expression, in a part of a `Logic` that may
    not be needed: the node may have failed, which fails this one only where the value is asked for."""

    index: int


class ToFloat(Struct, frozen=True, array_like=True, tag="float"):
    """int → float, also inside lists."""

    of: Expression


Expression = Literal | Operand | Settled | TextOf | Sum | ListOf | DictOf | Field | Apply | Logic | ToFloat


def parts_of(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that one is directly made of."""
    match expression:
        case TextOf(parts=parts) | Sum(parts=parts) | ListOf(items=parts) | DictOf(values=parts):
            return parts
        case Apply(arguments=parts) | Logic(parts=parts):
            return parts
        case Field(of=of) | ToFloat(of=of):
            return (of,)
        case Literal() | Operand() | Settled():
            return ()


# --- nodes ---------------------------------------------------------------------------------------------------------


class Node(Struct, frozen=True, array_like=True, kw_only=True):
    """What all nodes share; see the module's text."""

    operands: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    requires: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """What readers call it, and artifacts."""
        return str(self.__struct_config__.tag)

    @property
    def computes(self) -> Expression | None:
        """The expression whose value it needs before it does anything; None where it has none, or is an operation."""
        return getattr(self, "value", None)


class Input(Node, frozen=True, array_like=True, tag="input"):
    """A port through which a token enters the frame. It has no predecessors."""


class Operate(Node, frozen=True, array_like=True, tag="operate", kw_only=True):
    """An operation that the source wrote: the only kind that counts as one, takes time and can hold a slot."""

    operation: str
    """The operation's name in `apxm.operations`."""
    arguments: tuple[Expression, ...] = ()
    """The arguments by position: the operation's positional parameters, then the variadic ones."""
    options: dict[str, Expression] = {}
    """The arguments by name, absent ones left out; those the operation calls literal hold a `Literal`."""
    result: str = "none"
    """The result's type: what `merge` does follows from the types of its operands, not from their values."""
    priority: int = 0
    """Longest path from here to the end of the plan, in ms of `Operation.typical_ms`; higher runs first."""


class Compute(Node, frozen=True, array_like=True, tag="compute", kw_only=True):
    """A value too large, or used too often, to be folded into its users. Not an operation."""

    value: Expression


class Output(Node, frozen=True, array_like=True, tag="output", kw_only=True):
    """A port through which a token leaves the frame. An order port has no value, and passes a failure on."""

    port: int
    value: Expression | None = None


class Opening(NamedTuple):
    """The frames that an opener makes: `least` to `most` of them, each of one of `plans`."""

    plans: tuple[int, ...]
    least: int = 1
    most: int | None = 1
    """The most frames that there can be; None where nothing limits them."""

    @property
    def is_exact(self) -> bool:
        """Whether it is one frame, neither more nor less."""
        return self.least == self.most == 1


class Opener(Node, frozen=True, array_like=True, kw_only=True):
    """A node that makes frames of other plans, all with the same inputs and outputs. Whoever follows openers asks this
    class; only what makes them and what runs them knows the kinds of them."""

    leaves_flow: ClassVar[bool] = False
    """Whether it opens another flow's plan: the paths of the nodes there begin anew, behind its own."""

    @property
    def opening(self) -> Opening:
        """The frames that it makes."""
        raise NotImplementedError

    @property
    def cases(self) -> tuple[str | None, ...]:
        """The texts by which it chooses among `opening.plans`, in their order; None is any other text. Empty where
        there is no choice."""
        return ()

    @property
    def flaw(self) -> str | None:
        """What is wrong with it whatever the program around it; None where nothing is."""
        return None


class Switch(Opener, frozen=True, array_like=True, tag="switch", kw_only=True):
    """Opens the frame of the arm whose label equals `selector` after trimming and case folding."""

    selector: Expression
    labels: tuple[str, ...]
    """Already trimmed and folded, all different."""
    arms: tuple[int, ...]
    """The plan of each label, all with the same inputs and outputs."""
    default: int | None = None
    priority: int = 0
    """Longest path from the construct's exits to the end of this plan, in ms."""

    @property
    def computes(self) -> Expression:
        return self.selector

    @property
    def opening(self) -> Opening:
        return Opening(self.arms if self.default is None else (*self.arms, self.default))

    @property
    def cases(self) -> tuple[str | None, ...]:
        return self.labels if self.default is None else (*self.labels, None)

    @property
    def flaw(self) -> str | None:
        if len(self.labels) != len(self.arms) or not self.opening.plans:
            return f"has {len(self.labels)} labels for {len(self.arms)} arms"
        return "has the same label twice" if len(set(self.labels)) != len(self.labels) else None


class Subflow(Opener, frozen=True, array_like=True, tag="call", kw_only=True):
    """Opens the frame of another flow's plan, as soon as the frame around it exists."""

    leaves_flow: ClassVar[bool] = True

    plan: int
    priority: int = 0
    """The priority of all that the frame holds, as for `Switch`."""

    @property
    def opening(self) -> Opening:
        return Opening((self.plan,))


class Enter(Node, frozen=True, array_like=True, tag="enter", kw_only=True):
    """Delivers a value, or an order token where `value` is None, into input `port` of the frame that `opener` opens."""

    opener: int
    port: int
    value: Expression | None = None


class Exit(Node, frozen=True, array_like=True, tag="exit", kw_only=True):
    """Output `port` of the frame that `opener` opens. An order port also names the `Enter` of its resource, if any, in
    `after`: where the frame was never opened, order still passes through."""

    opener: int
    port: int


AnyNode = Input | Operate | Compute | Output | Switch | Subflow | Enter | Exit


# --- plans, flows, program -----------------------------------------------------------------------------------------


class Plan(Struct, frozen=True, array_like=True, kw_only=True):
    nodes: tuple[AnyNode, ...]
    inputs: int
    """How many of the first nodes are `Input` ports."""
    outputs: tuple[int, ...]
    """The `Output` nodes, by port."""
    gives_value: bool
    """Whether output 0 is a value; all others are order ports."""

    def openers(self) -> list[tuple[int, Opener]]:
        """The nodes that make frames of other plans, each behind its index."""
        return [(i, node) for i, node in enumerate(self.nodes) if isinstance(node, Opener)]


class FlowParameter(Struct, frozen=True, array_like=True, kw_only=True):
    name: str
    type: str
    """The type as `str` writes an `apxm.operations.types.Type`: ``list[str]``."""
    required: bool = True
    default: Value = None

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
        return f"{self.agent}.{self.name}"

    @property
    def signature(self) -> str:
        """The flow's signature as the source declares it: ``research(topic: str, depth: int = 2) -> str``."""
        arguments = ", ".join(p.declaration for p in self.parameters)
        return f"{self.name}({arguments})" + (f" -> {self.result}" if self.result else "")


class NodeName(Struct, frozen=True, array_like=True, kw_only=True):
    """What people call a node, and where the source wrote it."""

    path: str
    """Unique within a flow and equal at every -O level: the bound name, else ``operation#occurrence``, behind the
    constructs and arms around it and the calls it was inlined from, joined by ``/``. Empty for ports."""
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


Kind = typing.Literal["source", "artifact"]
Origin = tuple[str, Kind]
"""The absolute path of a program's file, and what is there."""


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

    def __repr__(self) -> str:
        # On one line, whatever it holds: tracebacks and notebooks show it.
        entry = "none" if self.entry is None else self.flows[self.entry].qualified_name
        file, entry = (shortened_left(name, 24) for name in (self.names.file, entry))
        return f"Program({file!r}, entry={entry!r}, flows={len(self.flows)}, level={self.optimization_level})"
