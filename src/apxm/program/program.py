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
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from msgspec import Struct

from apxm.operations.types import RecordField, Type, Value, parse_type
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
    """int → float, also inside lists and beside null."""

    of: Expression


class Cast(Struct, frozen=True, array_like=True, tag="cast"):
    """The value as one of type `target`; an operation that meets another fails with `wrong_type`."""

    of: Expression
    target: Type
    """Spelled out, so that whoever evaluates it needs no records."""


class TextForm(Struct, frozen=True, array_like=True, tag="form"):
    """The text form of a value of a record of the language that has one of its own."""

    of: Expression
    record: str


Expression = (
    Literal | Operand | Settled | TextOf | Sum | ListOf | DictOf | Field | Apply | Logic | ToFloat | Cast | TextForm
)


def parts_of(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that one is directly made of."""
    match expression:
        case TextOf(parts=parts) | Sum(parts=parts) | ListOf(items=parts) | DictOf(values=parts):
            return parts
        case Apply(arguments=parts) | Logic(parts=parts):
            return parts
        case Field(of=of) | ToFloat(of=of) | Cast(of=of) | TextForm(of=of):
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
    usual: float | None = None
    """How many there are on average, as far as one can say without a run; None where each number is as likely."""

    @property
    def is_exact(self) -> bool:
        """Whether it is one frame, neither more nor less."""
        return self.least == self.most == 1


class Opener(Node, frozen=True, array_like=True, kw_only=True):
    """A node that makes frames of other plans, all with the same inputs and outputs. Whoever follows openers asks this
    class; only what makes them and what runs them knows the kinds of them."""

    leaves_flow: ClassVar[bool] = False
    """Whether it opens another flow's plan: the paths of the nodes there begin anew, behind its own."""
    repeats: ClassVar[bool] = False
    """Whether its frames are turns of one plan: paths then name the turn."""
    settles: ClassVar[bool] = False
    """Whether nothing leaves its frames before all in them is over; the frames of a later opening begin then, too."""

    priority: int = 0
    """Longest path from the construct's exits to the end of this plan, in ms."""

    @property
    def openings(self) -> tuple[Opening, ...]:
        """The frames that it makes, in the order in which they begin."""
        raise NotImplementedError

    @property
    def opened(self) -> tuple[int, ...]:
        """All plans that it can open."""
        return tuple([plan for opening in self.openings for plan in opening.plans])

    @property
    def cases(self) -> tuple[Value, ...]:
        """The values by which it chooses among the plans of its first opening, in their order; None is any other one.
        Empty where there is no choice."""
        return ()

    @property
    def own_input(self) -> int | None:
        """The input port that it fills itself, so that nothing enters there."""
        return None

    @property
    def carried(self) -> Mapping[int, tuple[int, ...]]:
        """The input ports that a later turn takes from the turn before, each with the output ports there: a value from
        one, order from all that it waits for. Into other ports the same goes for all turns."""
        return _NOTHING_CARRIED

    @property
    def stop(self) -> int | None:
        """The output port whose value, once known, says that a turn is the last; None where none does."""
        return None

    @property
    def collected(self) -> int | None:
        """The output port whose exit has the list of what all turns gave there."""
        return None

    @property
    def flaw(self) -> str | None:
        """What is wrong with it whatever the program around it; None where nothing is."""
        return None

    def misfit(self, _opened: Plan, /) -> str | None:
        """What is wrong with it, given one of the plans that it opens; None where nothing is."""
        return None


_NOTHING_CARRIED: Mapping[int, tuple[int, ...]] = MappingProxyType({})


class Switch(Opener, frozen=True, array_like=True, tag="switch", kw_only=True):
    """Opens the frame of the arm whose label equals `selector` after trimming and case folding."""

    selector: Expression
    labels: tuple[str, ...]
    """Already trimmed and folded, all different."""
    arms: tuple[int, ...]
    """The plan of each label, all with the same inputs and outputs."""
    default: int | None = None

    @property
    def computes(self) -> Expression:
        return self.selector

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening(self.arms if self.default is None else (*self.arms, self.default)),)

    @property
    def cases(self) -> tuple[Value, ...]:
        return self.labels if self.default is None else (*self.labels, None)

    @property
    def flaw(self) -> str | None:
        if len(self.labels) != len(self.arms) or not self.opened:
            return f"has {len(self.labels)} labels for {len(self.arms)} arms"
        return "has the same label twice" if len(set(self.labels)) != len(self.labels) else None


class Subflow(Opener, frozen=True, array_like=True, tag="call", kw_only=True):
    """Opens the frame of another flow's plan, as soon as the frame around it exists."""

    leaves_flow: ClassVar[bool] = True

    plan: int

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening((self.plan,)),)


class If(Opener, frozen=True, array_like=True, tag="if", kw_only=True):
    """Opens the frame of `then` where `condition` holds, else that of `otherwise`."""

    condition: Expression
    then: int
    otherwise: int

    @property
    def computes(self) -> Expression:
        return self.condition

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening((self.then, self.otherwise)),)

    @property
    def cases(self) -> tuple[Value, ...]:
        return (True, False)


class Repeat(Opener, frozen=True, array_like=True, tag="repeat", kw_only=True):
    """Opens the frames of one plan in turns: at most `limit` of them, or one for each of `items`.

    A turn's inputs are what `shared` ports get, the same for all turns; an item, where there are items; and what comes
    from the turn before. Its outputs are whether it is the last, where turns say so; an item of a list, where it
    `collects` one; and what goes into the next turn, or out of the last.
    """

    repeats: ClassVar[bool] = True

    limit: Expression
    """An int; with more items than it says, the opener fails."""
    plan: int
    shared: int
    """How many of the first inputs all turns have in common."""
    items: Expression | None = None
    comes_from: tuple[tuple[int, ...], ...] = ()
    """For each of the last inputs, the output ports of the turn before that it waits for."""
    stops: bool = False
    collects: bool = False
    called: str = "loop"
    """What the source calls it."""

    @property
    def kind(self) -> str:
        return self.called

    @property
    def computes(self) -> Expression:
        return self.limit if self.items is None else ListOf((self.limit, self.items))

    @property
    def openings(self) -> tuple[Opening, ...]:
        limit = self.limit.value if isinstance(self.limit, Literal) else None
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            limit = None
        if self.items is None:
            if not self.stops:
                return (Opening((self.plan,), limit or 1, limit),)
            # As if `until` held in every other turn: 1 + 1/2 + 1/4 + …
            return (Opening((self.plan,), 1, limit, 2 - 0.5 ** min(limit - 1, 64) if limit else 2),)
        if isinstance(self.items, ListOf):
            return (Opening((self.plan,), len(self.items.items), len(self.items.items)),)
        known: Value = self.items.value if isinstance(self.items, Literal) else None
        if isinstance(known, list):
            count = len(typing.cast("list[Value]", known))
            return (Opening((self.plan,), count, count),)
        return (Opening((self.plan,), 0, limit, 1),)

    @property
    def own_input(self) -> int | None:
        return None if self.items is None else self.shared

    @property
    def carried(self) -> Mapping[int, tuple[int, ...]]:
        first = self.shared + (self.items is not None)
        return dict(enumerate(self.comes_from, first))

    @property
    def stop(self) -> int | None:
        return 0 if self.stops else None

    @property
    def collected(self) -> int | None:
        return int(self.stops) if self.collects else None

    @property
    def flaw(self) -> str | None:
        return "has no turns to share its inputs" if self.shared < 0 else None

    def misfit(self, opened: Plan, /) -> str | None:
        inputs = self.shared + (self.items is not None) + len(self.comes_from)
        if inputs != opened.inputs:
            return f"gives its turns {inputs} inputs, and they take {opened.inputs}"
        first = self.stops + self.collects
        if first > opened.values:
            return f"takes {first} values of each turn, and they give {opened.values}"
        carried = opened.values - first
        for place, ports in enumerate(self.comes_from):
            if place < carried and ports != (first + place,):
                return f"carries value {place} from the outputs {list(ports)}, expected [{first + place}]"
            if not all(opened.values <= port < len(opened.outputs) for port in ports[place < carried :]):
                return f"carries from the outputs {list(ports)} of {len(opened.outputs)}"
        return f"carries {len(self.comes_from)} of {carried} values" if len(self.comes_from) < carried else None


class Try(Opener, frozen=True, array_like=True, tag="try", kw_only=True):
    """Opens the frame of `body`, and where something in that failed, once all of it is over, that of `handler`."""

    settles: ClassVar[bool] = True

    body: int
    handler: int
    error_input: int | None = None
    """The input port into which the handler gets what failed, and the body nothing."""

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening((self.body,)), Opening((self.handler,), 0, 1, 0))

    @property
    def own_input(self) -> int | None:
        return self.error_input

    def misfit(self, opened: Plan, /) -> str | None:
        port = self.error_input
        if port is not None and not 0 <= port < opened.inputs:
            return f"gives the failure into input {port} of {opened.inputs}"
        return None


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


AnyNode = Input | Operate | Compute | Output | Switch | If | Repeat | Try | Subflow | Enter | Exit


# --- plans, flows, program -----------------------------------------------------------------------------------------


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
        return f"{self.agent}.{self.name}"

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

    def __repr__(self) -> str:
        # On one line, whatever it holds: tracebacks and notebooks show it.
        entry = "none" if self.entry is None else self.flows[self.entry].qualified_name
        file, entry = (shortened_left(name, 24) for name in (self.names.file, entry))
        return f"Program({file!r}, entry={entry!r}, flows={len(self.flows)}, level={self.optimization_level})"
