"""Values of the IR as expressions of a plan's nodes.

Inside one plan, an expression is built with the *plan's* node numbers in its `Operand`s; `place` turns those into the
numbers of one node's own operands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from msgspec import Struct

from apxm.errors import InternalError
from apxm.ir.literals import size
from apxm.ir.values import (
    ApplyOp,
    CastOp,
    ConstantOp,
    DictOp,
    FieldOp,
    ListOp,
    LogicOp,
    SumOp,
    TextFormOp,
    TextOp,
    ToFloatOp,
    ValueOp,
)
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
from apxm.program.nodes import Compute

MOST_LEAVES = 64
"""How many operands and constants an expression may hold that folds into its user; a `Compute` node holds others."""
DEEPEST = 16
"""How deep such an expression may nest."""
MOST_SHARED = 8
"""How much an expression may weigh that folds into several users: each of them gets a copy."""
_CHARACTERS_PER_WEIGHT = 64


class FoldedValue(Struct, frozen=True):
    """A value as users see it."""

    expression: Expression
    leaves: int = 1
    depth: int = 0
    weight: int = 1
    """What one more copy of it costs: leaves, and long constants by their length."""
    settles: bool = False
    """Whether it waits for values that it may not need, which a node does that is there for this alone."""

    def fits(self, uses: int) -> bool:
        """Whether it may be copied into its users, or must be computed once at a node of its own."""
        return self.leaves <= MOST_LEAVES and self.depth <= DEEPEST and (uses < 2 or self.weight <= MOST_SHARED)


def folded_constant(op: ConstantOp) -> FoldedValue:
    return FoldedValue(Literal(op.constant), weight=1 + size(op.constant) // _CHARACTERS_PER_WEIGHT)


def folded(op: ValueOp, operands: Sequence[FoldedValue]) -> FoldedValue:
    """What `op` computes, given its operands."""
    if isinstance(op, ConstantOp):
        return folded_constant(op)
    expression = _expression(op, tuple(operand.expression for operand in operands))
    return FoldedValue(
        expression,
        settles=isinstance(expression, Logic) and not _operands(expression) <= _operands(expression.parts[0]),
        leaves=sum(operand.leaves for operand in operands) or 1,
        depth=1 + max((operand.depth for operand in operands), default=0),
        weight=1 + sum(operand.weight for operand in operands),
    )


def _operands(expression: Expression) -> set[int]:
    """The nodes whose values it uses."""
    if isinstance(expression, Operand):
        return {expression.index}
    return {node for part in parts_of(expression) for node in _operands(part)}


def _expression(op: ValueOp, parts: tuple[Expression, ...]) -> Expression:
    match op:
        case TextOp():
            return TextOf(parts)
        case SumOp():
            return Sum(parts)
        case ListOp():
            return ListOf(parts)
        case DictOp():
            return DictOf(op.keys, parts)
        case FieldOp():
            return Field(parts[0], op.field)
        case ApplyOp():
            return Apply(op.function.name, parts)
        case LogicOp():
            return Logic(op.operator, parts)
        case ToFloatOp():
            return ToFloat(parts[0])
        case CastOp():
            return Cast(parts[0], op.result.type)
        case TextFormOp():
            return TextForm(parts[0], op.operands[0].type.name)
        case _:
            raise InternalError(f"{op.name} has no form in a program")


def place(expressions: Iterable[Expression]) -> tuple[tuple[int, ...], tuple[Expression, ...]]:
    """The operands of a node that holds `expressions`, and those with their `Operand`s numbered accordingly."""
    operands: dict[int, int] = {}
    placed: list[Expression] = []
    for expression in expressions:
        # What nearly all are, without a call: a `merge` of ten thousand values goes through here.
        if isinstance(expression, Operand):
            placed.append(Operand(operands.setdefault(expression.index, len(operands))))
        else:
            placed.append(_place(expression, lambda node: Operand(operands.setdefault(node, len(operands)))))
    return tuple(operands), tuple(placed)


def place_settling(expression: Expression) -> Compute:
    """The node for a `Logic` that `settles`: what its first part uses is needed, the rest only if it comes to that."""
    assert isinstance(expression, Logic)
    needed, (first,) = place(expression.parts[:1])
    operands = {node: i for i, node in enumerate(needed)}
    after: dict[int, int] = {}

    def numbered(node: int) -> Expression:
        found = operands.get(node)
        return Settled(after.setdefault(node, len(after))) if found is None else Operand(found)

    rest = [_place(part, numbered) for part in expression.parts[1:]]
    return Compute(operands=needed, after=tuple(after), value=Logic(expression.operator, (first, *rest)))


def _place(expression: Expression, numbered: Callable[[int], Expression]) -> Expression:
    def placed(parts: tuple[Expression, ...]) -> tuple[Expression, ...]:
        return tuple([_place(part, numbered) for part in parts])

    match expression:
        case Literal() | Settled():
            return expression
        case Operand(index=node):
            return numbered(node)
        case TextOf(parts=parts):
            return TextOf(placed(parts))
        case Sum(parts=parts):
            return Sum(placed(parts))
        case ListOf(items=items):
            return ListOf(placed(items))
        case DictOf(keys=keys, values=values):
            return DictOf(keys, placed(values))
        case Field(of=of, name=name):
            return Field(_place(of, numbered), name)
        case Apply(function=function, arguments=arguments):
            return Apply(function, placed(arguments))
        case Logic(operator=operator, parts=parts):
            return Logic(operator, placed(parts))
        case ToFloat(of=of):
            return ToFloat(_place(of, numbered))
        case Cast(of=of, target=target):
            return Cast(_place(of, numbered), target)
        case TextForm(of=of, record=name):
            return TextForm(_place(of, numbered), name)
        case _:
            assert_never(expression)
