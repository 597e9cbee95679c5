"""What passes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from apxm.ir.core import Block, Op, SSAValue
from apxm.ir.values import ConstantOp, TextOp, ValueOp, constant_of
from apxm.operations.types import STR, Type, Value, text_form


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


def drop_unused(block: Block) -> bool:
    """Leaves out values that nothing uses, and says whether there were any. They are no nodes, so that is no change of
    meaning, only tidy."""
    kept: list[Op] = []
    dropped = False
    for op in reversed(block.ops):
        for region in op.regions:
            dropped |= drop_unused(region)
        if isinstance(op, ValueOp) and not op.results[0].uses:
            op.drop()
        else:
            kept.append(op)
    dropped |= len(kept) < len(block.ops)
    kept.reverse()
    block.ops = kept
    return dropped


# --- values that passes make ----------------------------------------------------------------------------------------

Part = str | SSAValue
"""Literal text, or a value whose text form is meant."""


def literal_text(value: SSAValue) -> str | None:
    """The text form of a constant; None for any other value."""
    found = constant_of(value)
    return None if found is None else text_form(found.constant)


def join_literals(parts: Iterable[Part]) -> list[Part]:
    """Neighbouring strings joined, empty ones left out."""
    joined: list[Part] = []
    pending: list[str] = []
    for part in parts:
        if isinstance(part, str):
            pending.append(part)
            continue
        if text := "".join(pending):
            joined.append(text)
        pending.clear()
        joined.append(part)
    if text := "".join(pending):
        joined.append(text)
    return joined


class ValueBuilder:
    """Makes values for the operation `below`; they go to the end of `ops`, which stands above it."""

    def __init__(self, ops: list[Op], below: Op) -> None:
        self.ops = ops
        self.below = below

    def constant(self, value: Value, type_: Type) -> SSAValue:
        return self._add(ConstantOp(value, type_))

    def values(self, parts: Iterable[Part]) -> list[SSAValue]:
        """The parts as values; strings become constants."""
        return [self.constant(part, STR) if isinstance(part, str) else part for part in parts]

    def text(self, parts: list[Part]) -> SSAValue:
        """One value, a str, that is all parts joined."""
        values = self.values(parts or [""])
        return values[0] if len(values) == 1 and values[0].type == STR else self._add(TextOp(values))

    def _add(self, op: ValueOp) -> SSAValue:
        op.origin = self.below.origin
        self.ops.append(op)
        return op.results[0]
