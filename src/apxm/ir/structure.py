"""Flows and calls of flows, what ends a block, and the module that holds it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from apxm.ir.core import Block, InvalidModule, Op, SSAValue
from apxm.operations.types import NONE, Type, Value, assignable, conforms
from apxm.program.program import Capability


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
        verify_end(self.body, ReturnOp, () if self.result is None else (self.result,))


class CallOp(Op):
    """``%a = ais.call @Agent.flow(%x) : str {path: "a"}``. That the callee fits is for `ir.verify` to see."""

    __slots__ = ("callee",)
    name = "ais.call"

    def __init__(self, callee: str, arguments: Sequence[SSAValue], result: Type | None) -> None:
        super().__init__(arguments, result)
        self.callee = callee


def types_of(values: Sequence[SSAValue]) -> tuple[Type, ...]:
    return tuple([value.type for value in values])


def listed(types: Sequence[Type]) -> str:
    return ", ".join(map(str, types)) or str(NONE)


def verify_end(block: Block, kind: type[_EndOp], expected: Sequence[Type]) -> None:
    """Checks that `block` ends with an operation of this kind, which gives what the operation around it says."""
    end = block.ops[-1] if block.ops else None
    if end is None or type(end) is not kind:
        raise InvalidModule(f"expected {kind.name} at the end of a block, found {end.name if end else 'nothing'}")
    found = types_of(end.operands)
    if len(found) != len(expected) or not all(map(assignable, found, expected)):
        raise InvalidModule(f"expected {listed(expected)}, found {listed(found)}")


class Module:
    """All flows of a source, by symbol, in its order; its records, each behind those in it; the tools it declares."""

    __slots__ = ("capabilities", "flows", "records")

    def __init__(
        self, flows: Sequence[FlowOp], records: Iterable[Type] = (), capabilities: Iterable[Capability] = ()
    ) -> None:
        self.records = tuple(records)
        self.flows = {flow.symbol: flow for flow in flows}
        self.capabilities = tuple(capabilities)

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
