"""Functions of values: what they refuse, and that what they refuse costs no time."""

from __future__ import annotations

import pytest

from apxm.errors import OperationError
from apxm.operations.functions import FUNCTIONS
from apxm.operations.sequences import LARGEST_LIST
from apxm.operations.signatures import ITEM, resolve_call
from apxm.operations.types import FLOAT, INT, JSON, LARGEST_TEXT, STR, VERDICT, Type, Value, list_of


def computed(name: str, *arguments: Value) -> Value:
    return FUNCTIONS[name].of(len(arguments))(arguments)


LARGEST = "x" * LARGEST_TEXT
DEEP: Value = 1
for _ in range(300):
    DEEP = [DEEP]
WIDE: Value = ["x"]
for _ in range(60):
    WIDE = [WIDE, WIDE]


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message"),
    [
        ("range", (LARGEST_LIST + 1,), "too_large", "4,000,000 items"),
        ("range", (-(2**63), 2**63 - 1), "too_large", "4,000,000 items"),
        ("+", ([0] * LARGEST_LIST, [0]), "too_large", "4,000,000 items"),
        ("split", ("a" * (LARGEST_LIST + 1), "a"), "too_large", "4,000,000 items"),
        ("lines", ("\n" * (LARGEST_LIST + 2),), "too_large", "4,000,000 items"),
        ("join", ([LARGEST, "x"], ""), "too_large", "67,108,864 characters"),
        ("replace", (LARGEST, "x", "xx"), "too_large", "67,108,864 characters"),
        ("==", (WIDE, WIDE), "too_large", "when written out"),
        ("unique", (WIDE,), "too_large", "when written out"),
        ("to_json", (DEEP,), "too_large", "nests deeper"),
        ("parse_json", ("[" * 100_000 + "]" * 100_000,), "bad_json", "is no JSON"),
        ("parse_json", ("9223372036854775808",), "bad_json", "is no JSON"),
        ("parse_json", ('"\\ud800"',), "bad_json", "surrogate"),
        ("parse_json", ("[NaN]",), "bad_json", "NaN is no number of JSON"),
        ("number", ("1_000",), "bad_number", '"1_000" is not written as a number'),
        ("number", ("1e999",), "bad_number", "is too large for a float"),
        ("matches", ("a", "("), "bad_pattern", '"(" is no regular expression: missing )'),
        ("split", ("a", ""), "bad_argument", "an empty separator"),
        ("[]", ([1, 2], 2), "out_of_range", "there is no item 2 among 2 items"),
        ("[]", ({"a": 1}, "b"), "missing_field", "no field 'b'; it has: a"),
        ("[]", (1, 0), "wrong_type", "expected a list or a text to take an item of, found 1"),
        ("<", (True, 1), "wrong_type", "found True"),
        ("sort", ([1, "a"],), "wrong_type", "numbers alone or texts alone"),
        ("%", (1, 0), "division_by_zero", "divided by zero"),
        ("*", (1e300, 1e300), "overflow", "does not fit a float"),
        ("-x", (-(2**63),), "overflow", "does not fit an int"),
        ("*", ("a", 10**9), "wrong_type", "`*` expected float or int, found a str"),  # only by hand
    ],
)
def test_what_cannot_be_computed_says_why(name: str, arguments: tuple[Value, ...], kind: str, message: str) -> None:
    with pytest.raises(OperationError) as caught:
        computed(name, *arguments)
    assert caught.value.kind == kind
    assert message in caught.value.message


def test_a_pattern_takes_linear_time() -> None:
    assert computed("matches", "a" * 200_000 + "!", "^(a+)+$") is False  # Python's own would not come to an end


@pytest.mark.parametrize(
    ("name", "found", "result"),
    [
        ("unique", (list_of(STR),), list_of(STR)),
        ("zip", (list_of(INT), list_of(FLOAT)), list_of(list_of(FLOAT))),
        ("zip", (list_of(INT), list_of(STR)), list_of(list_of(JSON))),
        ("+", (list_of(INT), list_of(STR), list_of(INT)), list_of(JSON)),
        ("-", (INT, FLOAT), FLOAT),
        ("-", (JSON, INT), None),
        ("in", (VERDICT, list_of(STR)), None),
        ("[]", (list_of(list_of(INT)), INT), list_of(INT)),
        ("sort", (list_of(Type("bool")),), None),
    ],
)
def test_a_call_gives_what_the_first_signature_that_fits_says(
    name: str, found: tuple[Type, ...], result: Type | None
) -> None:
    resolved = resolve_call(FUNCTIONS[name].signatures, found)
    assert (None if resolved is None else resolved.result) == result
    assert resolved is None or ITEM not in resolved.parameters
