"""``priorities``: how long, typically, it takes from the start of an operation to the end of the plan around it.

Where slots are scarce, the longest path goes first. A path goes through what uses a value: into the regions of a
construct (the longest counts) and through calls (the callee's longest path). A region that runs in turns counts once,
and for each further turn that is known or usual the longest path by which a turn waits for what one before it carries:
no more where nothing says how many there are, so that a length is a lower bound there. Names that are carried into each
other's place are not followed. A path ends where its block ends: the construct around it carries what comes behind, and
the run adds the two up; in a later turn it is as long as in the first.
"""

from __future__ import annotations

from apxm.ir.core import PRIORITY, Block, Op, SSAValue
from apxm.ir.operations import OperateOp
from apxm.ir.structure import Module
from apxm.passes.rewriting import Outcome

_LONGEST_MS = 1_000_000_000
"""What a length is cut to: loops in each other multiply, and an artifact has ints of 64 bits."""


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
        self.further: dict[Op, int] = {}
        """What `further_turns` has found."""

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
                later = after + self.further_turns(op)
                inside = [self.longest(region, later) for region in op.regions]
                whole = later + (max(inside) if op.callee is None else self.lengths[op.callee])
                op.attributes[PRIORITY] = later - behind
            for operand in op.operands:
                if rest.get(operand, 0) < whole:
                    rest[operand] = whole
            if whole > longest:
                longest = whole
        return longest - behind

    def further_turns(self, op: Op) -> int:
        """How much later the last turn of its region ends than the first."""
        if op not in self.further:
            again = max(op.usual_turns - 1, 0)
            longest = max([self.turn(op, *carried) for carried in op.carried_on], default=0) if again else 0
            self.further[op] = min(round(again * longest), _LONGEST_MS)
        return self.further[op]

    def turn(self, op: Op, taken: SSAValue, given: SSAValue) -> int:
        """The longest path through a turn, from a name that is carried to its value for the next turn."""
        rest = {given: 0}
        for region in op.regions:
            self.towards(region, rest)
        return rest.get(taken, 0)

    def towards(self, block: Block, rest: dict[SSAValue, int]) -> int:
        """Adds to `rest`, of values that are needed for those in it, how long before them; returns that of the begin of
        the block, where anything in it is needed."""
        longest = 0
        for op in reversed(block.ops):
            needed = [rest[result] for result in op.results if result in rest]
            if op.ends or not needed:
                continue
            whole = max(needed)
            if isinstance(op, OperateOp):
                whole += op.OPERATION.typical_ms
            elif op.callee is not None:
                whole += self.lengths[op.callee]
            further = self.further_turns(op)
            for region in op.regions:
                for given, result in zip(reversed(region.gives), reversed(op.results), strict=False):
                    if result in rest:
                        rest[given] = max(rest.get(given, 0), rest[result] + further)
                whole = max(whole, self.towards(region, rest))
            for operand in op.operands:
                rest[operand] = max(rest.get(operand, 0), whole)
            longest = max(longest, whole)
        return longest
