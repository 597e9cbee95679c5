"""Values as Python code hands them over."""

from __future__ import annotations

import http
import json
import math
import signal
from collections import OrderedDict, defaultdict
from enum import Enum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.operations.plain import plain
from apxm.operations.types import BOOL, FLOAT, INT, JSON, STR, Type, Value, conforms, list_of


class Color(str, Enum):  # noqa: UP042  # a StrEnum it is not
    RED = "red"


class Word(StrEnum):
    YES = "yes"


class Ratio(float):
    """As numpy.float64 is one."""

    def __repr__(self) -> str:
        return "Ratio"


class Odd(list[int]):
    def __iter__(self):  # type: ignore[override]
        return iter("never asked")


def nested(levels: int) -> list[object]:
    made: list[object] = []
    for _ in range(levels - 1):
        made = [made]
    return made


def plainly(value: Value) -> bool:
    """Whether it is made of exactly the types that JSON is read as."""
    if type(value) is list:
        return all(map(plainly, value))
    if type(value) is dict:
        return all(type(key) is str and plainly(item) for key, item in value.items())
    return value is None or type(value) in (str, int, float, bool)


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        (http.HTTPStatus.OK, INT, 200),
        (signal.SIGTERM, JSON, 15),
        (http.HTTPStatus.OK, FLOAT, 200.0),
        ([[1], [signal.SIGTERM, 0.5]], list_of(list_of(FLOAT)), [[1.0], [15.0, 0.5]]),
        (Ratio(0.5), FLOAT, 0.5),
        (Ratio(0.5), JSON, 0.5),
        (10**30, FLOAT, 1e30),
        (Color.RED, STR, "red"),
        ([Word.YES], list_of(STR), ["yes"]),
        (OrderedDict(b=http.HTTPStatus.OK, a=[Ratio(1)]), JSON, {"b": 200, "a": [1.0]}),
        (defaultdict(list, {Word.YES: Odd([3])}), JSON, {"yes": [3]}),
        ([True, None], JSON, [True, None]),
        (True, BOOL, True),
        (nested(200), JSON, nested(200)),
    ],
)
def test_what_is_of_a_subclass_becomes_what_it_is_one_of(value: object, type_: Type, expected: Value) -> None:
    made = plain(value, type_, "x")
    assert json.dumps(made) == json.dumps(expected)
    assert plainly(made)
    assert conforms(value, type_) or isinstance(value, Odd)


@pytest.mark.parametrize(
    ("value", "type_", "message"),
    [
        (True, INT, "x must be an int, not True"),
        (2**63, INT, "x must be an int, not a number that is too large"),
        (10**400, FLOAT, "x must be a float, not a number that is too large"),
        (Ratio(math.inf), FLOAT, "x must be a float, not Ratio"),
        (None, STR, "x must be a str, not None"),
        ("y\ud800", STR, "x must be a str, not text with half of a surrogate pair"),
        ((1, 2), JSON, "x must be a JSON value of at most 200 levels, not a tuple"),
        ({"a b": [0, {1}]}, JSON, "x must be a JSON value of at most 200 levels, and x['a b'][1] is a set"),
        ({"a": {1: 2}}, JSON, "and x.a is an object with a key that is 1"),
        ({"a": math.nan}, JSON, "and x.a is nan"),
        ([{"\udcff": 1}], JSON, "and x[0]['\\udcff'] is text with half of a surrogate pair"),
        ([1, "a"], list_of(INT), "x must be a list[int], and x[1] is a str"),
        (nested(201), JSON, "is a value that nests deeper"),
        ([nested(200)], list_of(JSON), None),
        ([nested(201)], list_of(JSON), "is a value that nests deeper"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(value: object, type_: Type, message: str | None) -> None:
    if message is None:
        assert plain(value, type_, "x") == value
        return
    with pytest.raises(ValueError, match=r"^x must be ") as refused:
        plain(value, type_, "x")
    assert message in str(refused.value)


def test_parts_that_are_shared_are_looked_at_once_and_stay_shared() -> None:
    shared: object = {"n": http.HTTPStatus.OK}
    for _ in range(60):
        shared = [shared, {"a": shared}]
    made = plain(shared, JSON, "x")
    assert made[0] is made[1]["a"]
    with pytest.raises(ValueError, match="nests deeper"):
        # 121 levels behind 80 more, which is found though nobody looks at the 121 again.
        plain([made, *[wrapped(made, 80)]], JSON, "x")


def wrapped(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


def test_what_contains_itself_is_told() -> None:
    around: dict[str, object] = {"a": [1]}
    around["b"] = [around]
    with pytest.raises(ValueError, match=r"and x\.b\[0\] is a value that contains itself"):
        plain(around, JSON, "x")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)  # fmt: skip
def test_a_plain_value_is_copied_as_it_is(value: Value) -> None:
    made = plain(value, JSON, "x")
    assert json.dumps(made) == json.dumps(value)
    assert not isinstance(value, list | dict) or made is not value
