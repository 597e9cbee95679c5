"""``inline``: calls of flows are replaced by their bodies.

Callees first, so that a flow is complete before it is copied. Call trees can be exponential in their source, so a
budget bounds what is added to the whole module; a call that does not fit stays, and means the same. Paths are those
that the call would have had around it.
"""

from __future__ import annotations

from apxm.ir.core import NO_FUSE, PATH, Block, Op, SSAValue
from apxm.ir.operations import OperateOp
from apxm.ir.structure import FlowOp, Module
from apxm.passes.rewriting import Outcome

LARGEST_BODY = 1_000
"""The most operations that a flow may have to be copied."""
LEAST_GROWTH = 2_000
"""How many operations may be added to any module, however small."""
MOST_GROWTH = 4
"""How many operations may be added for each that the module has."""
DEEPEST = 64
"""How deep constructs may nest, as in the source: regions are walked by recursion."""


def inline(module: Module) -> Outcome:
    inliner = _Inliner(module)
    for flow in module.callees_first():
        inliner.visit_flow(flow)
    return Outcome(inliner.inlined > 0, {"calls_inlined": inliner.inlined, "calls_kept": inliner.kept})


class _Inliner:
    def __init__(self, module: Module) -> None:
        self.flows = module.flows
        self.sizes = {symbol: sum(1 for _ in flow.body.walk()) - 1 for symbol, flow in self.flows.items()}
        """The operations of each flow, its end left out."""
        self.heights: dict[str, int] = {}
        """How deep constructs nest in each flow that is complete."""
        self.budget = max(LEAST_GROWTH, MOST_GROWTH * sum(self.sizes.values()))
        self.inlined = 0
        self.kept = 0

    def visit_flow(self, flow: FlowOp) -> None:
        before = self.inlined, self.budget
        self.heights[flow.symbol] = self.visit_block(flow.body, 0)
        self.sizes[flow.symbol] += (before[1] - self.budget) - (self.inlined - before[0])

    def visit_block(self, block: Block, depth: int) -> int:
        """Inlines the calls of a block that stands in `depth` constructs, and says how deep constructs nest in it."""
        ops: list[Op] = []
        height = 0
        for op in block.ops:
            if op.callee is not None:
                if self.fits(op.callee, depth):
                    height = max(height, self.heights[op.callee])
                    ops += _body_for(op, self.flows[op.callee])
                    self.budget -= self.sizes[op.callee]
                    self.inlined += 1
                    continue
                self.kept += 1
            for region in op.regions:
                height = max(height, 1 + self.visit_block(region, depth + 1))
            ops.append(op)
        block.ops = ops
        return height

    def fits(self, symbol: str, depth: int) -> bool:
        return self.sizes[symbol] <= min(LARGEST_BODY, self.budget) and depth + self.heights[symbol] <= DEEPEST


def _body_for(call: Op, callee: FlowOp) -> list[Op]:
    """A copy of the body of `callee` that gives what `call` gave."""
    body = callee.body
    values: dict[SSAValue, SSAValue] = dict(zip(body.arguments, call.operands, strict=True))
    copies = [op.copy(values) for op in body.ops[:-1]]
    for op in (inner for copy in copies for inner in copy.walk()):
        if op.path:
            op.attributes[PATH] = f"{call.path}/{op.path}"
        if not callee.may_fuse and isinstance(op, OperateOp):
            op.attributes[NO_FUSE] = True
    for result, given in zip(call.results, body.gives, strict=True):
        result.replace_by(values.get(given, given))
    call.drop()
    return copies
