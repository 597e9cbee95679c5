"""What a condition says about values that may be null: names never change, so what was asked once stays true."""

from __future__ import annotations

from collections.abc import Mapping

from apxm.language import syntax
from apxm.language.report import UNKNOWN
from apxm.operations.types import JSON, NULL, Type

Path = tuple[str, ...]
"""A name, and perhaps the fields that lead on from it."""


def path_of(expression: syntax.Expression) -> Path | None:
    """The path that this reads; None where it is another expression."""
    match expression:
        case syntax.Name(text=text):
            return (text,)
        case syntax.FieldOf(value=value, name=name):
            owner = path_of(value)
            return None if owner is None else (*owner, name.text)
        case _:
            return None


def present_where(
    condition: syntax.Expression, holds: bool, types: Mapping[syntax.Expression, Type]
) -> frozenset[Path]:
    """The paths that do not lead to null where the condition holds, or does not."""
    match condition:
        case syntax.Comparison(operator="==" | "!=" as operator, left=left, right=right):
            are_equal = (operator == "==") == holds
            pairs = ((left, right), (right, left))
            found = {path_of(one) for one, other in pairs if _excludes_null(types[other], are_equal)}
            return frozenset(path for path in found if path is not None)
        case syntax.Not(value=value):
            return present_where(value, not holds, types)
        case syntax.Logic(operator=operator, operands=operands):
            first, *others = [present_where(operand, holds, types) for operand in operands]
            every_one_counts = holds == (operator == "and")
            return first.union(*others) if every_one_counts else first.intersection(*others)
        case _:
            return frozenset()


def _excludes_null(other: Type, are_equal: bool) -> bool:
    """Whether what is equal to a value of type `other`, or is not, cannot be null."""
    if other == NULL:
        return not are_equal
    return are_equal and not other.is_optional and other not in (JSON, UNKNOWN)
