"""Expressions of a Program, made into Python functions of a frame's values once, at load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import assert_never, cast

from apxm.errors import OperationError
from apxm.operations.functions import FUNCTIONS
from apxm.operations.plain import converted
from apxm.operations.sequences import entry, joined
from apxm.operations.text_forms import text_form_of
from apxm.operations.types import Value, add_up, text_form
from apxm.program.expressions import (
    Apply,
    Cast,
    DictOf,
    Expression,
    Field,
    ListOf,
    Literal,
    Logic,
    Operand,
    Settled,
    Sum,
    TextForm,
    TextOf,
    ToFloat,
    parts_of,
)

Evaluate = Callable[[list[Value]], Value]
"""A function from the values of a frame, by node, to one value. It raises `OperationError`, and `Needed` where the node
settles for values that may have failed."""
Collect = Callable[[list[Value]], Sequence[Value]]
"""A function from the values of a frame, by node, to the arguments of an operation. It raises `OperationError`."""


class Failed:
    """What a frame has of a node in place of a value."""

    is_value: bool
    """Whether it is a value that cannot be computed; else an operation failed, or was skipped."""


class Needed(Exception):  # noqa: N818  # what it carries is the failure
    """What was asked for is not there."""

    def __init__(self, failed: Failed) -> None:
        super().__init__()
        self.failed = failed


def evaluator(expression: Expression, operands: tuple[int, ...], settled: tuple[int, ...] = ()) -> Evaluate:
    """The function that computes `expression` in a node whose operands are the nodes `operands`, and which only comes
    after the nodes `settled`."""

    def collect_all(parts: tuple[Expression, ...]) -> Collect:
        return collector(parts, operands, settled)

    match expression:
        case Literal(value=constant):
            return lambda _values: constant
        case Operand(index=index):
            return itemgetter(operands[index])
        case Settled(index=index):
            return _settled(settled[index])
        case TextOf(parts=parts):
            return _text(collect_all(parts))
        case Sum(parts=parts):
            collect = collect_all(parts)
            return lambda values: add_up(list(map(_number, collect(values))))
        case ListOf(items=items):
            collect = collect_all(items)
            return lambda values: list(collect(values))
        case DictOf(keys=keys, values=entries):
            collect = collect_all(entries)
            return lambda values: dict(zip(keys, collect(values), strict=True))
        case Field(of=of, name=name):
            inner = evaluator(of, operands, settled)
            return lambda values: entry(inner(values), name)
        case Apply(function=name, arguments=arguments):
            collect, compute = collect_all(arguments), FUNCTIONS[name].of(len(arguments))
            return lambda values: compute(collect(values))
        case Logic(operator=operator, parts=parts):
            computed = [(evaluator(part, operands, settled), _settling(part, settled)) for part in parts]
            return _decided(computed, operator == "or")
        case ToFloat(of=of):
            inner = evaluator(of, operands, settled)
            return lambda values: _to_float(inner(values))
        case Cast(of=of, target=target):
            inner = evaluator(of, operands, settled)
            return lambda values: converted(inner(values), target)
        case TextForm(of=of, record=name):
            inner, made = evaluator(of, operands, settled), text_form_of(name)
            return lambda values: made(inner(values))
        case _:
            assert_never(expression)


def collector(expressions: tuple[Expression, ...], operands: tuple[int, ...], settled: tuple[int, ...] = ()) -> Collect:
    """The function that computes all `expressions`; operands alone, the usual case, are fetched in one go."""
    if len(expressions) > 1 and all(isinstance(expression, Operand) for expression in expressions):
        return itemgetter(*(operands[cast(Operand, expression).index] for expression in expressions))
    parts = tuple(evaluator(expression, operands, settled) for expression in expressions)
    if len(parts) == 1:
        only = parts[0]
        return lambda values: (only(values),)
    if len(parts) == 2:
        first, second = parts
        return lambda values: (first(values), second(values))
    return lambda values: [part(values) for part in parts]


def _text(collect: Collect) -> Evaluate:
    return lambda values: joined("", list(map(text_form, collect(values))))


# --- what may not be needed ----------------------------------------------------------------------------------------


def _settled(node: int) -> Evaluate:
    def get(values: list[Value]) -> Value:
        value = values[node]
        if isinstance(value, Failed):
            raise Needed(value)
        return value

    return get


def _settling(expression: Expression, settled: tuple[int, ...]) -> tuple[int, ...]:
    """The nodes whose values the expression may find missing."""
    if isinstance(expression, Settled):
        return (settled[expression.index],)
    return tuple(node for part in parts_of(expression) for node in _settling(part, settled))


def _decided(parts: list[tuple[Evaluate, tuple[int, ...]]], decisive: bool) -> Evaluate:
    """Goes from part to part until one is `decisive`. What failed counts before what cannot be computed, as with all
    that a node needs."""

    def decide(values: list[Value]) -> Value:
        for evaluate, settling in parts:
            for node in settling:
                value = values[node]
                if isinstance(value, Failed) and not value.is_value:
                    raise Needed(value)
            value = evaluate(values)
            if not isinstance(value, bool):  # only in an artifact that somebody wrote by hand
                raise OperationError("wrong_type", f"expected a bool, found a {type(value).__name__}")
            if value is decisive:
                return decisive
        return not decisive

    return decide


def _to_float(value: Value) -> Value:
    if isinstance(value, list):
        return [_to_float(item) for item in cast(list[Value], value)]
    if value is None:
        return None
    return float(_number(value))


def _number(value: Value) -> Value:
    """The checker has seen to it; but an artifact that somebody wrote by hand is not checked for types."""
    if isinstance(value, (int, float)):
        return value
    raise OperationError("wrong_type", f"expected a number, found a {type(value).__name__}")
