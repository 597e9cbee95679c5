"""``cse``: of two operations that give the same value, the first serves both.

That is so for values, for operations without effects, and for calls of a model that the source asks to answer the same
every time (``temperature: 0``). An operation that touches anything outside the graph is never merged with another.
"""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.traits import IsTerminator

from apxm.ir.operations import OperateOp
from apxm.ir.structure import SwitchOp, flows_of
from apxm.ir.summary import Summary
from apxm.passes.rewriting import Outcome, Replacements

Key = tuple[object, ...]


def cse(module: ModuleOp) -> Outcome:
    statistics = {"operations_merged": 0, "model_calls_merged": 0}
    summary = Summary(module)
    for flow in flows_of(module).values():
        pass_ = _Merging(summary, statistics)
        pass_.visit_block(flow.body)
        pass_.replacements.finish()
    return Outcome(statistics["operations_merged"] > 0, statistics)


class _Merging:
    def __init__(self, summary: Summary, statistics: dict[str, int]) -> None:
        self.summary = summary
        self.statistics = statistics
        self.replacements = Replacements()
        self.available: list[dict[Key, Operation]] = []
        """What has been computed, one table per block around the current place: an arm sees what stands above its
        construct, and nothing of another arm."""

    def visit_block(self, block: Block) -> None:
        self.available.append({})
        for op in list(block.ops):
            self.replacements.refresh(op)
            if isinstance(op, SwitchOp):
                for arm in op.arms:
                    self.visit_block(arm)
            elif self.may_merge(op):
                self.merge(op)
        self.available.pop()

    def may_merge(self, op: Operation) -> bool:
        return not op.has_trait(IsTerminator) and not self.summary.accesses(op) and self.summary.repeatable(op)

    def merge(self, op: Operation) -> None:
        key = (type(op), tuple(op.operands), frozenset(op.properties.items()), tuple(op.result_types))
        earlier = next((table[key] for table in self.available if key in table), None)
        if earlier is None:
            self.available[-1][key] = op
            return
        for old, new in zip(op.results, earlier.results, strict=True):
            self.replacements.add(old, new)
        self.replacements.retire(op)
        self.statistics["operations_merged"] += 1
        self.statistics["model_calls_merged"] += isinstance(op, OperateOp) and op.is_model_call
