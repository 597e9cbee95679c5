"""``remove-unused``: what nothing uses and nothing outside sees is not done, calls of models included.

Failure is not an effect: a `switch` that could fail goes too, if its arms touch nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from apxm.ir.core import Block, Op, SSAValue
from apxm.ir.operations import OperateOp
from apxm.ir.structure import Module
from apxm.ir.summary import Summary
from apxm.passes.rewriting import Outcome


def remove_unused(module: Module) -> Outcome:
    unused = UnusedOperations(module)
    for op in unused.ops:
        op.drop()
    for block in dict.fromkeys(unused.ops.values()):
        block.ops = [op for op in block.ops if op not in unused.ops]
    for op in unused.without_value:
        op.results = ()
        for region in op.regions:
            region.ops[-1].set_operands(())
    calls = sum(isinstance(op, OperateOp) and op.is_model_call for op in unused.walk())
    statistics = {"operations_removed": len(unused.ops), "model_calls_removed": calls}
    return Outcome(bool(unused.ops or unused.without_value), statistics)


class UnusedOperations:
    """What a module could do without."""

    def __init__(self, module: Module) -> None:
        self.ops: dict[Op, Block] = {}
        """The operations to leave out, with all that they hold, and the block in which each stands."""
        self.without_value: list[Op] = []
        """The constructs that stay for the effects inside, and whose value need not be computed."""
        self._summary = Summary(module)
        self._used: set[SSAValue] = set()
        for flow in module.flows.values():
            self._look(flow.body, gives=True)

    def walk(self) -> Iterator[Op]:
        """The operations to leave out and those that they hold."""
        return (inner for op in self.ops for inner in op.walk())

    def _look(self, block: Block, *, gives: bool) -> None:
        """Goes from the last operation to the first, so that each comes when all its users have been. `gives` says
        whether anything uses what the block gives."""
        used = self._used
        for op in reversed(block.ops):
            if op.ends:
                used.update(op.operands if gives else ())
                continue
            has_use = any(result in used for result in op.results)
            if not has_use and not self._summary.accesses(op):
                self.ops[op] = block
                continue
            used.update(op.operands)
            # What a region gives that runs again may be for the next time.
            if op.regions and op.results and not has_use and not op.loops:
                self.without_value.append(op)
            for region in op.regions:
                self._look(region, gives=has_use or op.loops)
