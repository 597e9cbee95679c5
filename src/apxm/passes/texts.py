"""Joining text: the parts of a prompt as strings and values."""

from __future__ import annotations

from collections.abc import Iterable

from apxm.ir.core import Op, SSAValue
from apxm.ir.values import ConstantOp, TextOp, ValueOp, constant_of
from apxm.operations.types import STR, Type, Value, text_form

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
