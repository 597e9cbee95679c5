"""Expressions that are written out, and so known before a run."""

from __future__ import annotations

import json

from apxm.errors import InternalError
from apxm.language import syntax
from apxm.operations.types import FLOAT, JSON, Type, Value


def is_literal(expression: syntax.Expression) -> bool:
    match expression:
        case syntax.Constant():
            return True
        case syntax.ListDisplay():
            return all(map(is_literal, expression.items))
        case syntax.DictDisplay():
            return all(map(is_literal, expression.values))
        case _:
            return False


def constant_value(expression: syntax.Expression, expected: Type) -> Value:
    """The value of a literal as an `expected`; of one that the checker refuses for its type, whatever it looks like."""
    expected = expected.present
    match expression:
        case syntax.Constant(value=value):
            return float(value) if expected == FLOAT and isinstance(value, int) else value
        case syntax.ListDisplay(items=items):
            return [constant_value(item, expected.element or JSON) for item in items]
        case syntax.DictDisplay(keys=keys, values=values) if expected.fields is not None:
            given = dict(zip((key.value for key in keys), values, strict=True))
            return {
                field.name: constant_value(given[field.name], field.type)
                if field.name in given
                else json.loads(field.default or "null")
                for field in expected.fields
            }
        case syntax.DictDisplay(keys=keys, values=values):
            return {str(key.value): constant_value(value, JSON) for key, value in zip(keys, values, strict=True)}
        case _:
            raise InternalError(f"{expression.span.place}: expected a literal")
