"""Flows, calls of flows, and constructs: what holds or opens other operations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from apxm.ir.core import Block, InvalidModule, Op, SSAValue
from apxm.ir.literals import quoted
from apxm.ir.values import constant_of
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.types import NONE, STR, Type, Value, assignable, conforms

_WORD = re.compile(r"[\w-]+")


class _EndOp(Op):
    """Ends a block, perhaps with a value."""

    __slots__ = ()
    ends = True

    def __init__(self, value: SSAValue | None = None) -> None:
        super().__init__(() if value is None else (value,))


class ReturnOp(_EndOp):
    """``ais.return(%a)``, at the end of a flow."""

    __slots__ = ()
    name = "ais.return"


class YieldOp(_EndOp):
    """``ais.yield(%a)``, at the end of a region."""

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
        _verify_end(self.body, ReturnOp, self.result)


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
            _verify_end(arm, YieldOp, None if self.value is None else self.value.type)


def arm_path(construct: str, label: str | None) -> str:
    """The path of an arm (`program.program.NodeName`); no label is the default's.

    A label that is not a plain word, or is the word ``default``, stands in quotes: so no two arms share a path, and a
    slash in a label cannot be taken for a step.
    """
    if label is None:
        return f"{construct}/default"
    plain = _WORD.fullmatch(label) is not None and label != "default"
    return f"{construct}/{label if plain else json.dumps(label, ensure_ascii=False)}"


def _verify_end(block: Block, kind: type[_EndOp], expected: Type | None) -> None:
    """Checks that `block` ends with an operation of this kind, which gives what the operation around it says."""
    end = block.ops[-1] if block.ops else None
    if end is None or type(end) is not kind:
        raise InvalidModule(f"expected {kind.name} at the end of a block, found {end.name if end else 'nothing'}")
    if len(end.operands) > 1:
        raise InvalidModule(f"expected at most one operand, found {len(end.operands)}")
    found = end.operands[0].type if end.operands else NONE
    if found != (expected or NONE) and not assignable(found, expected or NONE):
        raise InvalidModule(f"expected {expected or NONE}, found {found}")


class Module:
    """All flows of a source, by symbol, in its order; and its records, each behind those in it."""

    __slots__ = ("flows", "records")

    def __init__(self, flows: Sequence[FlowOp], records: Iterable[Type] = ()) -> None:
        self.records = tuple(records)
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
