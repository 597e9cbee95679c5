"""What an answer may be: types that JSON has a form for work on a simulated backend, others are refused at once."""

from __future__ import annotations

import datetime
import decimal
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec
import pytest

from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.classes import structure
from apxm.flows.flow import Flow, flow


class Point(NamedTuple):
    x: int
    y: str


@dataclass
class Inner:
    at: datetime.datetime


@dataclass
class Event:
    pair: tuple[int, str]
    when: datetime.date
    at: datetime.time | None
    many: list[datetime.datetime]
    inner: Inner
    raw: bytes


class Row(msgspec.Struct, array_like=True):
    a: int
    b: tuple[str, float]


def asking(schema: Any) -> Flow[[], Any]:
    @flow
    def main() -> Any:
        return ask("x", schema=schema)

    return main.using(backend="simulated", latency="constant:1", journal=False)


@pytest.mark.parametrize(
    "schema",
    [
        tuple[int, str], tuple[()], bytes, datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
        decimal.Decimal, uuid.UUID, Point, Event, Row, list[tuple[str, float]], dict[str, bytes],
        Annotated[str, msgspec.Meta(pattern="^a+$")], Annotated[list[int], msgspec.Meta(min_length=3)],
    ],
)  # fmt: skip
def test_a_simulated_answer_fits_whatever_msgspec_knows(schema: Any) -> None:
    value = asking(schema)()
    assert msgspec.convert(msgspec.to_builtins(value), schema) == value


@pytest.mark.parametrize("schema", [msgspec.Raw, dict[int, str], list[dict[int, int]], complex])
def test_what_no_answer_can_be_is_refused_before_the_first_call(schema: Any) -> None:
    program = asking(schema)
    with pytest.raises(UsageError, match="no answer can be a"):
        program()


def test_an_endpoint_is_told_the_items_of_a_tuple_and_the_format_of_a_text() -> None:
    told = msgspec.json.decode(structure(Event).format.schema)
    pair, when = told["properties"]["pair"], told["properties"]["when"]
    assert [each["type"] for each in pair["prefixItems"]] == ["integer", "string"]
    assert when == {"type": "string", "description": "date"}
    assert not structure(Event).format.strict  # no strict endpoint takes a tuple
    assert structure(Inner).format.strict
    assert structure(Inner).format.checked
    assert not structure(list[int]).format.checked


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (dict, "`schema=dict` says nothing of what an answer holds (hint: for example schema=dict[str, int]"),
        (list, "`schema=list` says nothing"),
        (Any, "`schema=Any` says nothing"),
        (object, "`schema=object` says nothing"),
        (msgspec.Struct, "`schema=Struct` says nothing"),
        ([1], "`schema=` is a class, not [1]"),
        ([Point], "it is schema=list[Point]"),
        ({"type": "object"}, "a schema of JSON is none here"),
        ("Point", "`schema=` is a class, not 'Point'"),
        (5, "`schema=` is a class, not 5"),
    ],
)
def test_a_schema_that_is_no_class_is_refused_before_the_first_call(schema: Any, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        asking(schema)()
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"a", "b"}, "choices= must be a list[str], not a set"),
        ({"a": 1}, "choices= must be a list[str], not a dict"),
        ("abc", "choices= must be a list[str], not a str"),
        ([], "choices= has no text to choose"),
        ([1, 2], "choices= must be a list[str], and in it [0] is 1"),
    ],
)
def test_choices_that_are_no_list_of_texts_are_refused_before_the_first_call(choices: Any, said: str) -> None:
    @flow
    def main() -> str:
        return ask("x", choices=choices)

    with pytest.raises(UsageError) as refused:
        main.using(backend="simulated", latency="constant:1", journal=False)()
    assert said in str(refused.value)
