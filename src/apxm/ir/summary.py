"""What operations do with everything inside them: the regions of a construct, the body of a called flow."""

from __future__ import annotations

from collections.abc import Iterable

from apxm.ir.core import Op
from apxm.ir.structure import Module
from apxm.operations.effects import Access


def union(groups: Iterable[tuple[Access, ...]]) -> tuple[Access, ...]:
    """All accesses once, in order of appearance."""
    return tuple(dict.fromkeys(access for group in groups for access in group))


class Summary:
    """The effects of a module as it is now; a pass that adds operations with effects makes a new one."""

    def __init__(self, module: Module) -> None:
        self._flows = module.flows
        self._inside: dict[Op, tuple[Access, ...]] = {}
        self._repeatable: dict[str, bool] = {}
        for flow in module.callees_first():  # not as they are asked for: calls may be a thousand deep
            self.accesses(flow)
            self._repeatable[flow.symbol] = all(map(self.repeatable, flow.body.ops))

    def accesses(self, op: Op) -> tuple[Access, ...]:
        """Everything outside the graph that `op` can touch, each once, in order of appearance."""
        if op.callee is not None:
            return self._inside[self._flows[op.callee]]
        if not op.regions:
            return op.touches
        if op not in self._inside:
            self._inside[op] = union(self.accesses(inner) for region in op.regions for inner in region.ops)
        return self._inside[op]

    def repeatable(self, op: Op) -> bool:
        """Whether doing `op` again with equal operands gives the same value."""
        if op.callee is not None:
            return self._repeatable[op.callee]
        return op.repeatable and all(self.repeatable(inner) for region in op.regions for inner in region.ops)

    def of_module(self) -> tuple[Access, ...]:
        return union(map(self.accesses, self._flows.values()))
