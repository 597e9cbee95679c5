"""How many turns the loops of a flow are known to have before any run: by the program's literals, by the arguments that
are given, and by what is assumed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import cast

from msgspec.structs import replace

from apxm.errors import OperationError, UsageError
from apxm.operations.types import Type, Value, parse_type
from apxm.program.expressions import Cast, Expression, ListOf, Literal, Operand, ToFloat
from apxm.program.frames import in_order
from apxm.program.nodes import Compute, Enter, Exit, Input, Output
from apxm.program.openers import Opener, Opening, Repeat
from apxm.program.program import AnyNode, Flow, Program
from apxm.program.unfolding import Unfolding, path_of, unfold
from apxm.runtime.expressions import evaluator

Place = tuple[int, int]
"""Frame and node."""
UNKNOWN = cast(Value, object())
"""Stands for a value that only a run can tell; a list may have such items."""
_TURN = re.compile(r"\[[0-9]+\]")


def assumed_items(flow: Flow, turns: Mapping[str, int], records: Mapping[str, Type]) -> dict[str, int]:
    """Those of the assumed numbers that say how many items the list of a parameter has."""
    lists = [p.name for p in flow.parameters if _may_be_list(parse_type(p.type, records))]
    return {name: count for name, count in turns.items() if name in lists}


def assumed_turns(program: Program, flow: Flow, turns: Mapping[str, int]) -> dict[Place, int]:
    """The other numbers, each of the turns of a loop, by the frame that `unfold` gives and the node of that. Raises
    `UsageError` for a name that no loop has, and for a number of turns that a loop cannot have."""
    items = assumed_items(flow, turns, program.record_types)
    if items.keys() == turns.keys():
        return {}
    frames = unfold(program, flow)
    loops: dict[str, list[tuple[Place, Repeat]]] = {}
    for frame, record in enumerate(frames):
        for i, opener in program.plans[record.plan].openers():
            if isinstance(opener, Repeat):
                path = _TURN.sub("", path_of(program, frames, frame, i))
                loops.setdefault(path, []).append(((frame, i), opener))
    lists = [p.name for p in flow.parameters if _may_be_list(parse_type(p.type, program.record_types))]
    found: dict[Place, int] = {}
    for name, count in turns.items():
        if name in items:
            continue
        if name not in loops:
            known = [*lists, *loops]
            near = get_close_matches(name, known, n=1)
            advice = f"only lists of parameters and loops, by their path, have a number: there {_listed(known)}"
            advice = f"did you mean {near[0]}?" if near else advice
            raise UsageError(f"{flow.qualified_name} has no list and no loop called {name!r}", hint=advice)
        for place, opener in loops[name]:
            (opening,) = opener.openings
            if count < (opener.items is None) or (opening.most is not None and count > opening.most):
                least, most = int(opener.items is None), "any number" if opening.most is None else f"{opening.most:,}"
                raise UsageError(f"{name} cannot have {count:,} turns: this `{opener.called}` has {least} to {most}")
            found[place] = count
    return found


def by_node(program: Program, flow: Flow, assumed: Mapping[Place, int]) -> dict[tuple[int, int], int]:
    """The same by plan and node: in all calls of a flow where one has such a number."""
    frames = unfold(program, flow) if assumed else []
    return {(frames[frame].plan, node): count for (frame, node), count in assumed.items()}


def _listed(names: Sequence[str]) -> str:
    return f"are {', '.join(names)}" if names else "is none"


def _may_be_list(type_: Type) -> bool:
    return type_.is_list or type_.name == "json"


class KnownTurns:
    """The loops of a flow whose lists are known to have so many items."""

    def __init__(
        self, graph: Unfolding, arguments: Sequence[Value], assumed: Mapping[Place, int] = MappingProxyType({})
    ) -> None:
        self._graph = graph
        self._arguments = arguments
        self._assumed = assumed
        self._values: list[Value] = [UNKNOWN] * graph.size
        for number in in_order(graph.before):
            self._values[number] = self._value(*graph.place(number))

    def openings(self, frame: int, node: int, opener: Opener) -> Sequence[Opening]:
        """What an opener opens, as far as that is known."""
        if not isinstance(opener, Repeat):
            return opener.openings
        if (frame, node) in self._assumed:
            count = self._assumed[frame, node]
            return (Opening(opener.opened, count, count),)
        limit = self._of(opener.limit, frame, opener)
        items = None if opener.items is None else self._of(opener.items, frame, opener)
        if isinstance(limit, int):
            opener = replace(opener, limit=Literal(limit))
        if isinstance(items, list):
            opener = replace(opener, items=Literal(cast("list[Value]", items)))
        return opener.openings

    def _value(self, frame: int, index: int) -> Value:
        graph = self._graph
        node = graph.node(frame, index)
        match node:
            case Compute(value=value) | Output(value=value) | Enter(value=value):
                return UNKNOWN if value is None else self._of(value, frame, node)
            case Input():
                return self._entering(frame, index)
            case Exit(opener=opener, port=port):
                return self._leaving(frame, opener, port)
            case _:
                return UNKNOWN

    def _entering(self, frame: int, port: int) -> Value:
        record = self._graph.frames[frame]
        if record.parent < 0:
            return self._arguments[port] if port < len(self._arguments) else UNKNOWN
        opener = self._graph.node(record.parent, record.opener)
        assert isinstance(opener, Opener)
        if port == opener.own_input or port in opener.carried:
            return UNKNOWN
        return self._values[self._graph.before[self._graph.number(frame, port)][0]]

    def _leaving(self, frame: int, index: int, port: int) -> Value:
        opener = self._graph.node(frame, index)
        assert isinstance(opener, Opener)
        if port == opener.collected:
            (opening,) = self.openings(frame, index, opener)
            return [UNKNOWN] * opening.least if opening.least == opening.most else UNKNOWN
        node = self._graph.node(frame, index)
        children = self._graph.children.get((frame, index), ())
        if isinstance(node, Repeat) or len(children) != 1:
            return UNKNOWN
        plan = self._graph.plans[self._graph.frames[children[0]].plan]
        return self._values[self._graph.number(children[0], plan.outputs[port])]

    def _of(self, expression: Expression, frame: int, node: AnyNode) -> Value:
        match expression:
            case Operand(index=index):
                return self._values[self._graph.number(frame, node.operands[index])]
            case ListOf(items=items):
                return [self._of(item, frame, node) for item in items]
            case ToFloat(of=of) | Cast(of=of):
                return self._of(of, frame, node)  # how many items it has stays the same
            case _:
                pass
        needed = (*node.operands, *(node.after if isinstance(node, Compute) else ()))
        values = {each: self._values[self._graph.number(frame, each)] for each in needed}
        if any(map(_is_unknown, values.values())):
            return UNKNOWN
        try:
            return evaluator(expression, node.operands)(cast("list[Value]", values))
        except OperationError:
            return UNKNOWN


def _is_unknown(value: Value) -> bool:
    return value is UNKNOWN or (isinstance(value, list) and any(map(_is_unknown, cast("list[Value]", value))))
