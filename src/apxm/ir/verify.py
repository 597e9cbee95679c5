"""What holds of a whole module: every pass takes a valid one and leaves a valid one."""

from __future__ import annotations

from apxm.ir.core import PATH, Block, InvalidModule, Op, SSAValue
from apxm.ir.structure import FlowOp, Module
from apxm.operations.types import assignable


def verify_module(module: Module) -> None:
    """Raises `InvalidModule` where an operation by itself is wrong, a value is used above its definition, a block does
    not end where it ends, a call does not fit what it calls, a path stands twice, or a flow calls itself."""
    for flow in module.flows.values():
        _FlowVerifier(flow, module).run()
    module.callees_first()


class _FlowVerifier:
    def __init__(self, flow: FlowOp, module: Module) -> None:
        self.flow = flow
        self.flows = module.flows
        self.defined: set[SSAValue] = set()
        self.paths: set[str] = set()

    def run(self) -> None:
        self._block(self.flow.body)
        self.flow.verify()

    def _block(self, block: Block) -> None:
        defined, paths = self.defined, self.paths
        local = list(block.arguments)
        defined.update(local)
        last = block.ops[-1] if block.ops else None
        for op in block.ops:
            for operand in op.operands:
                if operand not in defined:
                    raise self._invalid(f"{op.name} uses a value that is not defined above it")
            if op.ends and op is not last:
                raise self._invalid(f"{op.name} stands above the end of its block")
            for region in op.regions:
                self._block(region)
            op.verify()
            if op.callee is not None:
                self._call(op, op.callee)
            path = op.attributes.get(PATH)
            if path is not None:
                if path in paths:
                    raise self._invalid(f'the path "{path}" stands twice')
                paths.add(path)
            for result in op.results:
                defined.add(result)
                local.append(result)
        defined.difference_update(local)

    def _call(self, call: Op, symbol: str) -> None:
        callee = self.flows.get(symbol)
        if callee is None:
            raise self._invalid(f"a call of {symbol}, which is no flow of the module")
        expected = [argument.type for argument in callee.body.arguments]
        found = [argument.type for argument in call.operands]
        if len(found) != len(expected) or not all(map(assignable, found, expected)):
            wanted, given = (", ".join(map(str, types)) or "nothing" for types in (expected, found))
            raise self._invalid(f"{symbol} takes {wanted}, found {given}")
        result = None if call.value is None else call.value.type
        if result != callee.result:
            raise self._invalid(f"{symbol} gives {callee.result}, found {result}")

    def _invalid(self, message: str) -> InvalidModule:
        return InvalidModule(f"{self.flow.symbol}: {message}")
