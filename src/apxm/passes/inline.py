"""``inline``: calls of flows are replaced by their bodies.

Callees first, so that a flow is complete before it is copied. Call trees can be exponential in their source, so a
budget bounds what is added to the whole module; a call that does not fit stays, and means the same. Paths are those
that the call would have had around it.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from apxm.ir.attributes import LiteralAttr
from apxm.ir.base import NO_FUSE, AisOperation
from apxm.ir.operations import OperateOp
from apxm.ir.structure import CallOp, FlowOp, ReturnOp, SwitchOp, flows_of
from apxm.ir.verify import callees_first
from apxm.passes.rewriting import Outcome, Replacements

LARGEST_BODY = 1_000
"""Operations of a flow that may be copied."""
LEAST_GROWTH = 2_000
"""Operations that may be added to any module, however small."""
MOST_GROWTH = 4
"""How many operations may be added for each that the module has."""
DEEPEST = 64
"""Nesting of constructs, as in the source: xDSL walks regions by recursion."""


def inline(module: ModuleOp) -> Outcome:
    flows = flows_of(module)
    sizes = {symbol: sum(1 for _ in flow.walk()) - 2 for symbol, flow in flows.items()}
    heights: dict[str, int] = {}
    budget = max(LEAST_GROWTH, MOST_GROWTH * sum(sizes.values()))
    statistics = {"calls_inlined": 0, "calls_kept": 0}
    for flow in callees_first(flows):
        replacements = Replacements()
        for op in list(flow.walk()):
            replacements.refresh(op)
            if not isinstance(op, CallOp):
                continue
            callee = flows[op.callee]
            size = sizes[callee.symbol]
            if size > min(LARGEST_BODY, budget) or _depth(op) + heights[callee.symbol] > DEEPEST:
                statistics["calls_kept"] += 1
                continue
            _insert_body(callee, op, replacements)
            replacements.retire(op)
            budget -= size
            sizes[flow.symbol] += size - 1
            statistics["calls_inlined"] += 1
        replacements.finish()
        heights[flow.symbol] = max((_depth(op) + 1 for op in flow.walk() if isinstance(op, SwitchOp)), default=0)
    return Outcome(statistics["calls_inlined"] > 0, statistics)


def _insert_body(callee: FlowOp, call: CallOp, replacements: Replacements) -> None:
    """Copies the body of `callee` above `call`, and notes what replaces the call's result."""
    block = call.parent_block()
    assert block is not None
    values: dict[SSAValue, SSAValue] = dict(zip(callee.body.args, call.operands, strict=True))
    for op in callee.body.ops:
        if isinstance(op, ReturnOp):
            if op.given is not None and call.value is not None:
                replacements.add(call.value, values.get(op.given, op.given))
            return
        copy = op.clone(values)
        for inner in copy.walk():
            _adopt(inner, call.path, callee.may_fuse)
        block.insert_op_before(copy, call)


def _adopt(op: Operation, prefix: str, may_fuse: bool) -> None:
    if not isinstance(op, AisOperation):
        return
    if op.path:
        op.path = f"{prefix}/{op.path}"
    if not may_fuse and isinstance(op, OperateOp):
        op.attributes[NO_FUSE] = LiteralAttr.of(True)


def _depth(op: Operation) -> int:
    """How many constructs stand around `op`."""
    depth = 0
    parent = op.parent_op()
    while isinstance(parent, SwitchOp):
        depth += 1
        parent = parent.parent_op()
    return depth
