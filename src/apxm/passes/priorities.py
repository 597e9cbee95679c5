"""``priorities``: how long, typically, it takes from the start of an operation to the end of the plan around it.

Where slots are scarce, the longest path goes first. A path goes through what uses a value: into the regions of a
construct (the longest counts; one that runs again counts once, as nobody knows how often it will, so that a length is
a lower bound there) and through calls (the callee's longest path). It ends where its block ends: the construct around
it carries what comes behind, and the run adds the two up.
"""

from __future__ import annotations

from apxm.ir.core import PRIORITY, Block, SSAValue
from apxm.ir.operations import OperateOp
from apxm.ir.structure import Module
from apxm.passes.rewriting import Outcome


def priorities(module: Module) -> Outcome:
    lengths: dict[str, int] = {}
    for flow in module.callees_first():
        lengths[flow.symbol] = _Paths(lengths).longest(flow.body, 0)
    return Outcome(True, {"longest_path_ms": max(lengths.values(), default=0)})


class _Paths:
    def __init__(self, lengths: dict[str, int]) -> None:
        self.lengths = lengths
        """The longest paths of the flows that can be called from here."""
        self.rest: dict[SSAValue, int] = {}
        """The longest path from the start of what uses a value to the end of the flow."""

    def longest(self, block: Block, behind: int) -> int:
        """The longest path through `block`, given what comes `behind` it up to the end of the flow."""
        rest = self.rest
        longest = behind
        for op in reversed(block.ops):
            after = behind
            for result in op.results:
                after = max(after, rest.get(result, 0))
            whole = after
            if isinstance(op, OperateOp):
                whole += op.OPERATION.typical_ms
                op.attributes[PRIORITY] = whole - behind
            elif op.opens:
                inside = [self.longest(region, after) for region in op.regions]
                whole += max(inside) if op.callee is None else self.lengths[op.callee]
                op.attributes[PRIORITY] = after - behind
            for operand in op.operands:
                if rest.get(operand, 0) < whole:
                    rest[operand] = whole
            if whole > longest:
                longest = whole
        return longest - behind
