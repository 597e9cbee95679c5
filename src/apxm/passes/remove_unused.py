"""``remove-unused``: what nothing uses and nothing outside sees is not done, calls of models included.

Failure is not an effect: a `switch` that could fail goes too, if its arms touch nothing.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValues
from xdsl.traits import IsTerminator

from apxm.ir.operations import OperateOp
from apxm.ir.structure import SwitchOp, YieldOp, flows_of
from apxm.ir.summary import Summary
from apxm.passes.rewriting import Outcome


def remove_unused(module: ModuleOp) -> Outcome:
    statistics = {"operations_removed": 0, "model_calls_removed": 0}
    summary = Summary(module)
    changed = [_remove(flow.body, summary, statistics) for flow in flows_of(module).values()]
    return Outcome(any(changed), statistics)


def _remove(block: Block, summary: Summary, statistics: dict[str, int]) -> bool:
    """From the last to the first: an operation is looked at when all its users have been. Says whether anything
    changed."""
    changed = False
    for op in reversed(list(block.ops)):
        used = any(result.uses for result in op.results)
        if not used and not op.has_trait(IsTerminator) and not summary.accesses(op):
            statistics["operations_removed"] += 1
            statistics["model_calls_removed"] += sum(_is_model_call(inner) for inner in op.walk())
            block.erase_op(op)
            changed = True
        elif isinstance(op, SwitchOp):
            if not used and op.results:
                _drop_result(op)
                changed = True
            for arm in op.arms:
                changed |= _remove(arm, summary, statistics)
    return changed


def _is_model_call(op: Operation) -> bool:
    return isinstance(op, OperateOp) and op.is_model_call


def _drop_result(switch: SwitchOp) -> None:
    """The construct stays for the effects of its arms; what they would give need not be computed."""
    switch.results = SSAValues()
    for arm in switch.arms:
        if isinstance(arm.last_op, YieldOp):
            arm.last_op.operands = ()
