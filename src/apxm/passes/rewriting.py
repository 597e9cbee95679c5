"""What passes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from apxm.ir.core import Block, Op, SSAValue
from apxm.ir.values import ValueOp


class Outcome(NamedTuple):
    """What a pass gives besides the module that it changed."""

    changed: bool
    """Whether the module is not as it was; what was verified before need not be verified again."""
    statistics: Mapping[str, int]
    """What the pass did, in its own words and numbers."""


def taken_again(block: Block) -> set[SSAValue]:
    """The values that regions which run again take from outside: as they stand, each is computed once for all times."""
    found: set[SSAValue] = set()
    for op in block.walk():
        if op.loops:
            inside = {inner for region in op.regions for inner in region.walk()}
            found.update(value for inner in inside for value in inner.operands if value.owner not in inside)
    return found


def drop_unused_values(block: Block) -> bool:
    """Leaves out values that nothing uses, and says whether there were any. They are no nodes, so that is no change of
    meaning, only tidy."""
    kept: list[Op] = []
    dropped = False
    for op in reversed(block.ops):
        for region in op.regions:
            dropped |= drop_unused_values(region)
        if isinstance(op, ValueOp) and not op.results[0].uses:
            op.drop()
        else:
            kept.append(op)
    dropped |= len(kept) < len(block.ops)
    kept.reverse()
    block.ops = kept
    return dropped
