"""The expressions of a program: values computed where they are used, at no node's cost."""

from __future__ import annotations

import typing

from msgspec import Struct

from apxm.operations.types import Type, Value

Connective = typing.Literal["and", "or"]


class Literal(Struct, frozen=True, array_like=True, tag="literal"):
    value: Value


class Operand(Struct, frozen=True, array_like=True, tag="operand"):
    """The value of the node `operands[index]` of the node that holds this expression."""

    index: int


class TextOf(Struct, frozen=True, array_like=True, tag="text"):
    """The text forms of `parts`, joined."""

    parts: tuple[Expression, ...]


class Sum(Struct, frozen=True, array_like=True, tag="sum"):
    """Numbers added from left to right."""

    parts: tuple[Expression, ...]


class ListOf(Struct, frozen=True, array_like=True, tag="list"):
    items: tuple[Expression, ...]


class DictOf(Struct, frozen=True, array_like=True, tag="dict"):
    keys: tuple[str, ...]
    values: tuple[Expression, ...]


class Field(Struct, frozen=True, array_like=True, tag="field"):
    """The entry `name` of an object; an operation that meets none fails with `missing_field`."""

    of: Expression
    name: str


class Apply(Struct, frozen=True, array_like=True, tag="apply"):
    """What a function of `operations.functions` gives for the arguments; where that is nothing, its users fail."""

    function: str
    arguments: tuple[Expression, ...]


class Logic(Struct, frozen=True, array_like=True, tag="logic"):
    """``and`` or ``or`` of bools: those behind the first that decides it are not computed."""

    operator: Connective
    parts: tuple[Expression, ...]


class Settled(Struct, frozen=True, array_like=True, tag="settled"):
    """The value of the node `after[index]` of the `Compute` that holds this expression, in a part of a `Logic` that may
    not be needed: the node may have failed, which fails this one only where the value is asked for."""

    index: int


class ToFloat(Struct, frozen=True, array_like=True, tag="float"):
    """int → float, also inside lists and beside null."""

    of: Expression


class Cast(Struct, frozen=True, array_like=True, tag="cast"):
    """The value as one of type `target`; an operation that meets another fails with `wrong_type`."""

    of: Expression
    target: Type
    """Spelled out, so that whoever evaluates it needs no records."""


class TextForm(Struct, frozen=True, array_like=True, tag="form"):
    """The text form of a value of a record of the language that has one of its own."""

    of: Expression
    record: str


Expression = (
    Literal | Operand | Settled | TextOf | Sum | ListOf | DictOf | Field | Apply | Logic | ToFloat | Cast | TextForm
)


def parts_of(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that one is directly made of."""
    match expression:
        case TextOf(parts=parts) | Sum(parts=parts) | ListOf(items=parts) | DictOf(values=parts):
            return parts
        case Apply(arguments=parts) | Logic(parts=parts):
            return parts
        case Field(of=of) | ToFloat(of=of) | Cast(of=of) | TextForm(of=of):
            return (of,)
        case Literal() | Operand() | Settled():
            return ()
