"""Values computed where they are used."""

from __future__ import annotations

import pytest

from apxm.errors import OperationError
from apxm.operations.types import LARGEST_TEXT, Value, text_form
from apxm.program.expressions import DictOf, Expression, Field, ListOf, Literal, Operand, Sum, TextOf, ToFloat
from apxm.runtime.expressions import collector, evaluator

A, B = Operand(0), Operand(1)


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        (Literal("x"), (), "x"),
        (B, ("a", "b"), "b"),
        (TextOf((Literal("n="), A, Literal(", "), B)), (1, [True, None, "ü"]), 'n=1, [true,null,"ü"]'),
        (TextOf((A,)), (2.0,), "2.0"),
        (Sum((A, B, Literal(0.5))), (1, 2), 3.5),
        (ListOf((A, ListOf((B,)))), (1, "b"), [1, ["b"]]),
        (DictOf(("k", "l"), (A, B)), (1, "b"), {"k": 1, "l": "b"}),
        (Field(Field(A, "x"), "y"), ({"x": {"y": 7}},), 7),
        (ToFloat(A), (3,), 3.0),
        (ToFloat(A), ([1, [2]],), [1.0, [2.0]]),
    ],
)
def test_values(expression: Expression, values: tuple[Value, ...], expected: Value) -> None:
    # Operands are named by their place in the node, not in the frame.
    frame = [None, *reversed(values)]
    operands = tuple(len(values) - i for i in range(len(values)))
    found = evaluator(expression, operands)(frame)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "value", "kind", "message"),
    [
        (Field(A, "x"), {"y": 1, "z": 2}, "missing_field", "no field 'x'; it has: y, z"),
        (Field(A, "x"), {}, "missing_field", "it has: none"),
        (Field(A, "x"), [1, 2], "missing_field", "expected an object with a field 'x', found [1,2]"),
        (Sum((A, A)), 2**62, "overflow", "does not fit an int"),
        (Sum((A, A)), 1.7e308, "overflow", "does not fit a float"),
        (Sum((A, Literal(1))), [2], "wrong_type", "expected a number, found a list"),
        (ToFloat(A), "2", "wrong_type", "expected a number, found a str"),
        (TextOf((A, A)), "x" * (LARGEST_TEXT // 2 + 1), "too_large", "longer than 67,108,864 characters"),
    ],
)
def test_what_cannot_be_computed_says_why(expression: Expression, value: Value, kind: str, message: str) -> None:
    with pytest.raises(OperationError) as caught:
        evaluator(expression, (0,))([value])
    assert caught.value.kind == kind
    assert message in caught.value.message


def test_a_small_program_can_build_a_value_too_large_to_write_and_is_stopped_in_time() -> None:
    value: Value = ["x"]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(OperationError, match="longer than"):
        text_form(value)
    for _ in range(300):
        value = [value]
    with pytest.raises(OperationError, match="nests deeper than 200"):
        text_form(value)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_collecting_arguments(count: int) -> None:
    collect = collector(tuple(Operand(i) for i in range(count)), tuple(range(count)))
    assert list(collect(["a", "b", "c"])) == ["a", "b", "c"][:count]
