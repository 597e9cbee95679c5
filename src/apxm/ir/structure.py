"""Flows, calls of flows, and constructs: what holds or opens other operations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from apxm.ir.core import Block, InvalidModule, Op, SSAValue
from apxm.ir.literals import quoted
from apxm.ir.values import constant_of
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.types import BOOL, INT, JSON, NONE, STR, Type, Value, assignable, conforms, list_of

_WORD = re.compile(r"[\w-]+")


class _EndOp(Op):
    """Ends a block with the values that it gives."""

    __slots__ = ()
    ends = True

    def __init__(self, *values: SSAValue) -> None:
        super().__init__(values)


class ReturnOp(_EndOp):
    """``ais.return(%a)``, at the end of a flow: one value, or none."""

    __slots__ = ()
    name = "ais.return"


class YieldOp(_EndOp):
    """``ais.yield(%a, %b)``, at the end of a region."""

    __slots__ = ()
    name = "ais.yield"


class FlowOp(Op):
    """``ais.flow entry @Agent.main(topic %topic: str, depth %depth: int = 2) -> str { … }``

    The name of a parameter stands before its value, whose own name is only a hint.
    """

    __slots__ = ("agent", "defaults", "flow", "is_entry", "may_fuse", "parameters", "result")
    name = "ais.flow"

    def __init__(
        self,
        agent: str,
        flow: str,
        parameters: Mapping[str, Type],
        defaults: Mapping[str, Value],
        result: Type | None,
        *,
        is_entry: bool = False,
        may_fuse: bool = True,
    ) -> None:
        """The body is empty."""
        super().__init__(regions=(Block(parameters),))
        self.agent = agent
        self.flow = flow
        self.parameters = tuple(parameters)
        self.defaults = defaults
        self.result = result
        self.is_entry = is_entry
        self.may_fuse = may_fuse

    @property
    def symbol(self) -> str:
        return f"{self.agent}.{self.flow}"

    @property
    def body(self) -> Block:
        return self.regions[0]

    def verify(self) -> None:
        types = {name: argument.type for name, argument in zip(self.parameters, self.body.arguments, strict=True)}
        for name, value in self.defaults.items():
            if name not in types:
                raise InvalidModule(f"a default for {name!r}, which is no parameter")
            if not conforms(value, types[name]):
                raise InvalidModule(f"the default of {name!r} is {types[name]}, found {value!r}")
        _verify_end(self.body, ReturnOp, () if self.result is None else (self.result,))


class CallOp(Op):
    """``%a = ais.call @Agent.flow(%x) : str {path: "a"}``. That the callee fits is for `ir.verify` to see."""

    __slots__ = ("callee",)
    name = "ais.call"

    def __init__(self, callee: str, arguments: Sequence[SSAValue], result: Type | None) -> None:
        super().__init__(arguments, result)
        self.callee = callee


class SwitchOp(Op):
    """``%r = ais.switch(%selector) : str {path: "r"} case "a" { … } default { … }``

    There is one region per label, in their order, and perhaps one more, the default. Labels are trimmed and folded. An
    arm uses values of the blocks around it freely.
    """

    __slots__ = ("labels",)
    name = "ais.switch"

    def __init__(self, selector: SSAValue, labels: Sequence[str], arms: Sequence[Block], result: Type | None) -> None:
        super().__init__((selector,), result, regions=arms)
        self.labels = tuple(labels)

    @property
    def selector(self) -> SSAValue:
        return self.operands[0]

    @property
    def has_default(self) -> bool:
        return len(self.regions) > len(self.labels)

    def arm_for(self, selector: str) -> Block | None:
        label = matching_label(selector, self.labels)
        if label is None:
            return self.regions[-1] if self.has_default else None
        return self.regions[self.labels.index(label)]

    def taken(self) -> Block | None:
        # None also for a constant that no arm matches: that fails at run time, at the switch.
        selector = constant_of(self.selector)
        return None if selector is None else self.arm_for(str(selector.constant))

    @property
    def titles(self) -> Sequence[str]:
        return [*(f"case {quoted(label)}" for label in self.labels), "default"]

    @property
    def steps(self) -> Sequence[str]:
        return [_step(label) for label in (*self.labels, None)]

    def verify(self) -> None:
        if len(self.operands) != 1 or self.selector.type != STR:
            raise InvalidModule("expected one operand, the selector, a str")
        labels = self.labels
        if not labels:
            raise InvalidModule("expected at least one case")
        if len(self.regions) not in (len(labels), len(labels) + 1):
            raise InvalidModule(f"expected an arm per label, found {len(self.regions)} for {len(labels)}")
        if len(set(labels)) < len(labels) or any(label != fold_label(label) for label in labels):
            raise InvalidModule("expected labels that are trimmed, folded and all different")
        for arm in self.regions:
            if arm.arguments:
                raise InvalidModule("an arm takes no arguments")
            _verify_end(arm, YieldOp, _types(self.results))


class IfOp(Op):
    """``%a, %b = ais.if(%condition) : str : int {path: "a"} then { … } else { … }``"""

    __slots__ = ()
    name = "ais.if"

    def __init__(self, condition: SSAValue, then: Block, otherwise: Block, results: Sequence[Type] = ()) -> None:
        super().__init__((condition,), results, regions=(then, otherwise))

    def taken(self) -> Block | None:
        condition = constant_of(self.operands[0])
        return None if condition is None else self.regions[0 if condition.constant else 1]

    @property
    def titles(self) -> Sequence[str]:
        return ("then", "else")

    def verify(self) -> None:
        if len(self.operands) != 1 or self.operands[0].type != BOOL:
            raise InvalidModule("expected one operand, the condition, a bool")
        for region in self.regions:
            if region.arguments:
                raise InvalidModule("a region of an `if` takes no arguments")
            _verify_end(region, YieldOp, _types(self.results))


class RepeatOp(Op):
    """``%draft = ais.repeat(%max, %start, called: "loop", stops: true) : str {path: "draft"} turn(%draft: str) { … }``

    Its region runs in turns, at most `max` of them. The region's arguments are an item of a list, where it goes through
    one, and then what is carried from turn to turn; the operands are `max`, that list, and what the first turn starts
    with. What a turn gives at its end is, in this order: where the repetition `stops`, whether this turn is the last;
    where it `collects`, an item of the list that is its first result; what is carried into the next turn, or after the
    last one is a result.
    """

    __slots__ = ()
    name = "ais.repeat"
    loops = True

    def __init__(
        self,
        limit: SSAValue,
        items: SSAValue | None,
        starts: Mapping[str, SSAValue],
        *,
        called: str,
        item: str = "",
        stops: bool = False,
        collects: Type | None = None,
    ) -> None:
        """`called` is what the source calls it, `item` the name of the item of one turn, and `collects` the type of
        what a turn gives for the list, if it gives that. The region is empty."""
        arguments = {name: start.type for name, start in starts.items()}
        if items is not None:
            arguments = {item: items.type.element or JSON, **arguments}
        collected = () if collects is None else (list_of(collects),)
        flags = {"items": items is not None, "stops": stops, "collects": collects is not None}
        super().__init__(
            (limit, *(() if items is None else (items,)), *starts.values()),
            (*collected, *(start.type for start in starts.values())),
            literals={"called": called, **{name: True for name, holds in flags.items() if holds}},
            regions=(Block(arguments),),
        )

    @property
    def body(self) -> Block:
        return self.regions[0]

    @property
    def takes_items(self) -> bool:
        return "items" in self.literals

    @property
    def stops(self) -> bool:
        return "stops" in self.literals

    @property
    def collects(self) -> bool:
        return "collects" in self.literals

    @property
    def carried(self) -> list[SSAValue]:
        """What a turn takes from the one before."""
        return self.body.arguments[self.takes_items :]

    @property
    def starts(self) -> list[SSAValue]:
        """What the first turn takes instead."""
        return self.operands[1 + self.takes_items :]

    @property
    def titles(self) -> Sequence[str]:
        return ("turn",)

    @property
    def steps(self) -> Sequence[str]:
        return ("",)

    def verify(self) -> None:
        expected = [INT, *([self.operands[1].type] if self.takes_items else []), *_types(self.carried)]
        found = _types(self.operands)
        if len(found) != len(expected) or not all(map(assignable, found, expected)):
            raise InvalidModule(f"expected operands of {_listed(expected)}, found {_listed(found)}")
        if self.takes_items and not _is_list_of(self.operands[1].type, self.body.arguments[0].type):
            raise InvalidModule(f"takes items of {self.body.arguments[0].type} from {self.operands[1].type}")
        results = _types(self.results)
        collected: tuple[Type, ...] = ()
        if self.collects:
            if not results or results[0].element is None:
                raise InvalidModule("expected a list as its first result")
            collected = (results[0].element,)
        if results[self.collects :] != _types(self.carried):
            raise InvalidModule("expected results as what it carries")
        stops = (BOOL,) if self.stops else ()
        _verify_end(self.body, YieldOp, (*stops, *collected, *_types(self.carried)))


class TryOp(Op):
    """``%a = ais.try() : str {path: "a"} body { … } catch (%e: json) { … }``

    The second region runs once all of the first is over, where something in that failed; its argument, if it takes one,
    says what.
    """

    __slots__ = ()
    name = "ais.try"
    catches = True

    def __init__(self, body: Block, handler: Block, results: Sequence[Type] = ()) -> None:
        super().__init__((), results, regions=(body, handler))

    @property
    def titles(self) -> Sequence[str]:
        return ("body", "catch")

    def verify(self) -> None:
        body, handler = self.regions
        if body.arguments or _types(handler.arguments) not in ((), (JSON,)):
            raise InvalidModule("expected no argument of the body, and at most the error as that of the handler")
        for region in self.regions:
            _verify_end(region, YieldOp, _types(self.results))


def _step(label: str | None) -> str:
    """The step of an arm; no label is the default's.

    A label that is not a plain word, or is the word ``default``, stands in quotes: so no two arms share a path, and a
    slash in a label cannot be taken for a step.
    """
    if label is None:
        return "/default"
    plain = _WORD.fullmatch(label) is not None and label != "default"
    return f"/{label if plain else json.dumps(label, ensure_ascii=False)}"


def _types(values: Sequence[SSAValue]) -> tuple[Type, ...]:
    return tuple([value.type for value in values])


def _listed(types: Sequence[Type]) -> str:
    return ", ".join(map(str, types)) or str(NONE)


def _is_list_of(items: Type, item: Type) -> bool:
    return items == item == JSON or (items.element is not None and assignable(items.element, item))


def _verify_end(block: Block, kind: type[_EndOp], expected: Sequence[Type]) -> None:
    """Checks that `block` ends with an operation of this kind, which gives what the operation around it says."""
    end = block.ops[-1] if block.ops else None
    if end is None or type(end) is not kind:
        raise InvalidModule(f"expected {kind.name} at the end of a block, found {end.name if end else 'nothing'}")
    found = _types(end.operands)
    if len(found) != len(expected) or not all(map(assignable, found, expected)):
        raise InvalidModule(f"expected {_listed(expected)}, found {_listed(found)}")


class Module:
    """All flows of a source, by symbol, in its order."""

    __slots__ = ("flows",)

    def __init__(self, flows: Sequence[FlowOp]) -> None:
        self.flows = {flow.symbol: flow for flow in flows}

    def callees_first(self) -> list[FlowOp]:
        """The flows, each behind those it calls. Raises `InvalidModule` where flows call each other in a circle."""
        calls = {
            symbol: [op.callee for op in flow.body.walk() if op.callee is not None]
            for symbol, flow in self.flows.items()
        }
        try:
            return [self.flows[symbol] for symbol in TopologicalSorter(calls).static_order()]
        except CycleError as error:
            raise InvalidModule(f"flows call each other in a circle: {' -> '.join(error.args[1])}") from None
