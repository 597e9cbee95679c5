"""Expressions of a Program, made into Python functions of a frame's values once, at load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import assert_never, cast

from apxm.errors import OperationError
from apxm.operations.plain import converted
from apxm.operations.text_forms import text_form_of
from apxm.operations.types import LARGEST_TEXT, Value, add_up, text_form
from apxm.program.program import (
    Cast,
    DictOf,
    Expression,
    Field,
    ListOf,
    Literal,
    Operand,
    Sum,
    TextForm,
    TextOf,
    ToFloat,
)
from apxm.source import shortened

Evaluate = Callable[[list[Value]], Value]
"""A function from the values of a frame, by node, to one value. It raises `OperationError`."""
Collect = Callable[[list[Value]], Sequence[Value]]
"""A function from the values of a frame, by node, to the arguments of an operation. It raises `OperationError`."""


def evaluator(expression: Expression, operands: tuple[int, ...]) -> Evaluate:
    """The function that computes `expression` in a node whose operands are the nodes `operands`."""
    match expression:
        case Literal(value=constant):
            return lambda _values: constant
        case Operand(index=index):
            return itemgetter(operands[index])
        case TextOf(parts=parts):
            return _text(tuple(evaluator(part, operands) for part in parts))
        case Sum(parts=parts):
            return _sum(tuple(evaluator(part, operands) for part in parts))
        case ListOf(items=items):
            collect = collector(items, operands)
            return lambda values: list(collect(values))
        case DictOf(keys=keys, values=entries):
            collect = collector(entries, operands)
            return lambda values: dict(zip(keys, collect(values), strict=True))
        case Field(of=of, name=name):
            return _field(evaluator(of, operands), name)
        case ToFloat(of=of):
            inner = evaluator(of, operands)
            return lambda values: _to_float(inner(values))
        case Cast(of=of, target=target):
            inner = evaluator(of, operands)
            return lambda values: converted(inner(values), target)
        case TextForm(of=of, record=name):
            inner, made = evaluator(of, operands), text_form_of(name)
            return lambda values: made(inner(values))
        case _:
            assert_never(expression)


def collector(expressions: tuple[Expression, ...], operands: tuple[int, ...]) -> Collect:
    """The function that computes all `expressions`; operands alone, the usual case, are fetched in one go."""
    if len(expressions) > 1 and all(isinstance(expression, Operand) for expression in expressions):
        return itemgetter(*(operands[cast(Operand, expression).index] for expression in expressions))
    parts = tuple(evaluator(expression, operands) for expression in expressions)
    if len(parts) == 1:
        only = parts[0]
        return lambda values: (only(values),)
    return lambda values: [part(values) for part in parts]


def _text(parts: tuple[Evaluate, ...]) -> Evaluate:
    def join(values: list[Value]) -> Value:
        return joined("", [text_form(part(values)) for part in parts])

    return join


def joined(separator: str, texts: Sequence[str]) -> str:
    """`separator.join(texts)`, refused where the result would be absurdly long."""
    if sum(map(len, texts)) + len(separator) * len(texts) > LARGEST_TEXT:
        raise OperationError("too_large", f"a text would be longer than {LARGEST_TEXT:,} characters")
    return separator.join(texts)


def _sum(parts: tuple[Evaluate, ...]) -> Evaluate:
    return lambda values: add_up([_number(part(values)) for part in parts])


def _field(of: Evaluate, name: str) -> Evaluate:
    def get(values: list[Value]) -> Value:
        value = of(values)
        if not isinstance(value, dict):
            found = shortened(text_form(value), 40)
            raise OperationError("missing_field", f"expected an object with a field {name!r}, found {found}")
        entries = cast(dict[str, Value], value)
        if name not in entries:
            known = ", ".join(sorted(entries)[:10]) or "none"
            raise OperationError("missing_field", f"the object has no field {name!r}; it has: {known}")
        return entries[name]

    return get


def _to_float(value: Value) -> Value:
    if isinstance(value, list):
        return [_to_float(item) for item in cast(list[Value], value)]
    if value is None:
        return None
    return float(_number(value))


def _number(value: Value) -> Value:
    """The checker has seen to it; but an artifact that somebody wrote by hand is not checked for types."""
    if isinstance(value, int | float):
        return value
    raise OperationError("wrong_type", f"expected a number, found a {type(value).__name__}")
