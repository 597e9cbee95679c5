"""What passes share: what they give, and replacing values without visiting all their users at once.

xDSL's `replace_all_uses_with` rebuilds the operands of a user for every single use, which is quadratic for a `merge` of
ten thousand values. Here a pass notes what replaces what, and refreshes each user once, when it comes to it. Values are
defined above their uses, so one walk from top to bottom sees every user.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from xdsl.ir import Block, Operation, SSAValue

from apxm.ir.values import ValueOp


class Outcome(NamedTuple):
    """Of a pass."""

    changed: bool
    """Whether the module is not as it was; what was verified before need not be verified again."""
    statistics: Mapping[str, int]
    """What the pass did, in its own words and numbers."""


class Replacements:
    def __init__(self) -> None:
        self._new: dict[SSAValue, SSAValue] = {}
        self._targets: set[SSAValue] = set()
        self._retired: list[Operation] = []

    def add(self, old: SSAValue, new: SSAValue) -> None:
        new = self.of(new)
        self._new[old] = new
        self._targets.add(new)
        if new.name_hint is None:
            new.name_hint = old.name_hint

    def of(self, value: SSAValue) -> SSAValue:
        """What stands for `value` now."""
        replaced: list[SSAValue] = []
        while value in self._new:
            replaced.append(value)
            value = self._new[value]
        for old in replaced[:-1]:
            self._new[old] = value
        return value

    def refresh(self, op: Operation) -> None:
        """Brings the operands of `op` up to date."""
        if any(operand in self._new for operand in op.operands):
            op.operands = [self.of(operand) for operand in op.operands]

    def used_once(self, value: SSAValue) -> bool:
        """Whether its one use is all there will be; users that are not refreshed yet do not show in its uses."""
        return value.has_one_use() and value not in self._targets

    def retire(self, op: Operation) -> None:
        """Takes `op` out of its block; what uses its result must have a replacement."""
        op.detach()
        op.drop_all_references()
        self._retired.append(op)

    def finish(self) -> None:
        """To be called once all users are refreshed."""
        for op in self._retired:
            op.erase(drop_references=False)


def drop_unused_values(body: Block) -> bool:
    """Erases values that nothing uses, and says whether there were any. They are no nodes, so that is no change of
    meaning, only tidy."""
    dropped = False
    for op in list(body.walk(reverse=True)):
        block = op.parent_block()
        if isinstance(op, ValueOp) and block is not None and not op.result.uses:
            block.erase_op(op)
            dropped = True
    return dropped
