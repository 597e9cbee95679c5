"""What holds of a whole module: every pass takes a valid one and leaves a valid one."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import cast

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from apxm.ir.attributes import LiteralAttr
from apxm.ir.base import PATH, type_of
from apxm.ir.structure import CallOp, FlowOp, SwitchOp, flows_of
from apxm.operations.types import assignable


def verify_module(module: ModuleOp) -> None:
    """Raises `VerifyException`. Each operation by itself, then what only the flow or the module can know: values are
    used below their definition, calls fit what they call, paths are unique, and no flow calls itself."""
    module.verify()
    flows = flows_of(module)
    for flow in flows.values():
        _FlowVerifier(flow, flows).run()
    callees_first(flows)


def callees_first(flows: dict[str, FlowOp]) -> list[FlowOp]:
    """The flows, each behind those it calls."""
    calls = {symbol: [op.callee for op in flow.walk() if isinstance(op, CallOp)] for symbol, flow in flows.items()}
    try:
        return [flows[symbol] for symbol in TopologicalSorter(calls).static_order()]
    except CycleError as error:
        raise VerifyException(f"flows call each other in a circle: {' -> '.join(error.args[1])}") from None


class _FlowVerifier:
    def __init__(self, flow: FlowOp, flows: dict[str, FlowOp]) -> None:
        self.flow = flow
        self.flows = flows
        self.defined: set[SSAValue] = set(flow.body.args)
        self.paths: set[str] = set()

    def run(self) -> None:
        self._block(self.flow.body)

    def _block(self, block: Block) -> None:
        local: list[SSAValue] = []
        for op in block.ops:
            if not self.defined.issuperset(op.operands):
                raise VerifyException(f"{self.flow.symbol}: {op.name} uses a value that is not defined above it")
            kind = type(op)
            if kind is CallOp:
                self._call(cast(CallOp, op))
            elif kind is SwitchOp:
                for arm in cast(SwitchOp, op).arms:
                    self._block(arm)
            path = op.attributes.get(PATH)
            if type(path) is LiteralAttr:
                self._path(path)
            self.defined.update(op.results)
            local += op.results
        self.defined.difference_update(local)

    def _call(self, call: CallOp) -> None:
        callee = self.flows.get(call.callee)
        if callee is None:
            raise VerifyException(f"{self.flow.symbol}: a call of {call.callee}, which is no flow of the module")
        expected = [type_of(argument) for argument in callee.body.args]
        found = [type_of(argument) for argument in call.operands]
        if len(found) != len(expected) or not all(map(assignable, found, expected)):
            wanted, given = (", ".join(map(str, types)) or "nothing" for types in (expected, found))
            raise VerifyException(f"{self.flow.symbol}: {call.callee} takes {wanted}, found {given}")
        result = None if call.value is None else type_of(call.value)
        if result != callee.result:
            raise VerifyException(f"{self.flow.symbol}: {call.callee} gives {callee.result}, found {result}")

    def _path(self, path: LiteralAttr) -> None:
        if path.data in self.paths:
            raise VerifyException(f"{self.flow.symbol}: the path {path.data} stands twice")
        self.paths.add(path.data)
