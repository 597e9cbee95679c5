"""``cse``: of two operations that give the same value, the first serves both.

That is so for values, for operations without effects, and for calls of a model that the source asks to answer the same
every time (``temperature: 0``). An operation that touches anything outside the graph is never merged with another.
"""

from __future__ import annotations

from collections.abc import Hashable

from apxm.ir.core import Block, Op
from apxm.ir.literals import identity
from apxm.ir.operations import OperateOp
from apxm.ir.structure import Module
from apxm.ir.summary import Summary
from apxm.passes.rewriting import Outcome


def cse(module: Module) -> Outcome:
    statistics = {"operations_merged": 0, "model_calls_merged": 0}
    merging = _Merger(Summary(module), statistics)
    for flow in module.flows.values():
        merging.visit_block(flow.body)
    return Outcome(statistics["operations_merged"] > 0, statistics)


class _Merger:
    def __init__(self, summary: Summary, statistics: dict[str, int]) -> None:
        self.summary = summary
        self.statistics = statistics
        self.available: dict[Hashable, Op] = {}
        """What has been computed in the blocks around the current place: a region sees what stands above its construct,
        and nothing of another region, which may not have run. One whose failures stay inside sees nothing from
        outside."""

    def visit_block(self, block: Block) -> None:
        kept: list[Op] = []
        added: list[Hashable] = []
        for op in block.ops:
            if op.regions:
                outside, self.available = self.available, {} if op.catches else self.available
                for region in op.regions:
                    self.visit_block(region)
                self.available = outside
            elif not op.ends and self.summary.repeatable(op) and not self.summary.accesses(op):
                key = _key(op)
                earlier = self.available.get(key)
                if earlier is not None:
                    self.merge(op, earlier)
                    continue
                self.available[key] = op
                added.append(key)
            kept.append(op)
        block.ops = kept
        for key in added:
            del self.available[key]

    def merge(self, op: Op, earlier: Op) -> None:
        for old, new in zip(op.results, earlier.results, strict=True):
            old.replace_by(new)
        op.drop()
        self.statistics["operations_merged"] += 1
        self.statistics["model_calls_merged"] += isinstance(op, OperateOp) and op.is_model_call


def _key(op: Op) -> Hashable:
    """Equal for operations that give the same value."""
    literals = tuple([(name, identity(value)) for name, value in op.literals.items()])
    return type(op), op.callee, tuple(op.operands), op.names, literals, tuple([result.type for result in op.results])
