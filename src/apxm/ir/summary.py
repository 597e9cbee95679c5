"""Effects of operations with everything inside them: the arms of a construct, the body of a called flow."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from apxm.ir.effects import effects_of, union
from apxm.ir.structure import CallOp, flows_of
from apxm.ir.verify import callees_first
from apxm.operations.effects import Access


class Summary:
    """Of a module as it is now; a pass that adds operations with effects makes a new one."""

    def __init__(self, module: ModuleOp) -> None:
        self._accesses: dict[str, tuple[Access, ...]] = {}
        self._repeatable: dict[str, bool] = {}
        self._constructs: dict[Operation, tuple[Access, ...]] = {}
        for flow in callees_first(flows_of(module)):
            self._accesses[flow.symbol] = self._inside(flow)
            self._repeatable[flow.symbol] = all(self.repeatable(op) for op in flow.body.ops)

    def accesses(self, op: Operation) -> tuple[Access, ...]:
        """Everything outside the graph that `op` can touch, each once, in order of appearance."""
        if isinstance(op, CallOp):
            return self._accesses[op.callee]
        if not op.regions:
            return effects_of(op).accesses
        if op not in self._constructs:
            self._constructs[op] = self._inside(op)
        return self._constructs[op]

    def repeatable(self, op: Operation) -> bool:
        """Whether doing `op` again with equal operands gives the same value."""
        if isinstance(op, CallOp):
            return self._repeatable[op.callee]
        return effects_of(op).repeatable(op) and all(
            self.repeatable(inner) for region in op.regions for inner in region.block.ops
        )

    def _inside(self, op: Operation) -> tuple[Access, ...]:
        return union(self.accesses(inner) for region in op.regions for inner in region.block.ops)

    def of_flow(self, symbol: str) -> tuple[Access, ...]:
        return self._accesses[symbol]

    def of_module(self) -> tuple[Access, ...]:
        return union(self._accesses.values())
