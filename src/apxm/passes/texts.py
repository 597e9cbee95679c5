"""Joining text: the parts of a prompt as strings and values."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.ir import Block, Operation, SSAValue

from apxm.ir.base import AisOperation, type_of
from apxm.ir.values import ConstantOp, TextOp, ValueOp, constant_of
from apxm.operations.types import STR, text_form

Part = str | SSAValue
"""Literal text, or a value whose text form is meant."""


def literal_text(value: SSAValue) -> str | None:
    """The text form of a constant; None for any other value."""
    constant = constant_of(value)
    return None if constant is None else text_form(constant.value)


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


def constants_for(parts: Iterable[Part], before: AisOperation) -> list[SSAValue]:
    """The parts as values; strings become constants above `before`."""
    block = before.parent_block()
    assert block is not None
    return [_constant(part, block, before) if isinstance(part, str) else part for part in parts]


def text_of_parts(parts: list[Part], before: AisOperation) -> SSAValue:
    """One value, a str, that is all parts joined; made above `before`."""
    block = before.parent_block()
    assert block is not None
    if not parts:
        return _constant("", block, before)
    values = constants_for(parts, before)
    if len(values) == 1 and type_of(values[0]) == STR:
        return values[0]
    return _insert(TextOp.of(values), block, before)


def _constant(text: str, block: Block, before: AisOperation) -> SSAValue:
    return _insert(ConstantOp.of(text, STR), block, before)


def _insert(op: ValueOp, block: Block, before: Operation) -> SSAValue:
    op.location = before.location
    block.insert_op_before(op, before)
    return op.result
