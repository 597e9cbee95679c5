"""``priorities``: how long, typically, it takes from the start of an operation to the end of the plan around it.

Where slots are scarce, the longest path goes first. A path goes through what uses a value: into the arms of a `switch`
(the longest counts) and through calls (the callee's longest path). It ends where its block ends: the construct around
it carries what comes behind, and the run adds the two up.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from apxm.ir.attributes import LiteralAttr
from apxm.ir.base import PRIORITY
from apxm.ir.operations import OperateOp
from apxm.ir.structure import CallOp, SwitchOp, flows_of
from apxm.ir.verify import callees_first
from apxm.passes.rewriting import Outcome


def priorities(module: ModuleOp) -> Outcome:
    lengths: dict[str, int] = {}
    for flow in callees_first(flows_of(module)):
        lengths[flow.symbol] = _Paths(lengths).longest(flow.body, 0)
    return Outcome(True, {"longest_path_ms": max(lengths.values(), default=0)})


class _Paths:
    def __init__(self, lengths: dict[str, int]) -> None:
        self.lengths = lengths
        """Of the flows that can be called from here."""
        self.rest: dict[Operation, int] = {}
        """From the start of an operation to the end of the flow."""

    def longest(self, block: Block, behind: int) -> int:
        """The longest path through `block`, given what comes `behind` it up to the end of the flow."""
        longest = 0
        for op in reversed(list(block.ops)):
            after = max((self.after(result) for result in op.results), default=behind)
            after = max(after, behind)
            match op:
                case OperateOp():
                    self.rest[op] = after + op.OPERATION.typical_ms
                    op.attributes[PRIORITY] = LiteralAttr.of(self.rest[op] - behind)
                case SwitchOp():
                    self.rest[op] = after + max(self.longest(arm, after) for arm in op.arms)
                    op.attributes[PRIORITY] = LiteralAttr.of(after - behind)
                case CallOp():
                    self.rest[op] = after + self.lengths[op.callee]
                    op.attributes[PRIORITY] = LiteralAttr.of(after - behind)
                case _:
                    self.rest[op] = after
            longest = max(longest, self.rest[op] - behind)
        return longest

    def after(self, value: SSAValue) -> int:
        return max((self.rest[use.operation] for use in value.uses), default=0)
