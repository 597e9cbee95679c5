"""Types: their text, what converts to what, and which values they have; against a second, simple implementation."""

from __future__ import annotations

import json
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.errors import OperationError
from apxm.operations.plain import converted, plain
from apxm.operations.types import (
    BOOL,
    BUILT_IN,
    DEEPEST_TYPE,
    FLOAT,
    INT,
    JSON,
    MOST_FIELDS,
    NONE,
    NULL,
    PLAN,
    SCALARS,
    STR,
    VERDICT,
    RecordField,
    Type,
    Value,
    assignable,
    castable,
    common_type,
    conforms,
    excess,
    list_of,
    optional,
    parse_type,
    record_of,
)

PERSON = record_of(
    "Person", [RecordField("name", STR), RecordField("age", optional(INT), default="null"), RecordField("note", JSON)]
)
TEAM = record_of("Team", [RecordField("people", list_of(PERSON)), RecordField("size", FLOAT, default="1.5")])
RECORDS = {"Person": PERSON, "Team": TEAM}
SCRATCH = record_of("", [RecordField("draft", STR), RecordField("round", INT)])

types = st.recursive(
    st.sampled_from([*SCALARS.values(), PERSON, TEAM, PLAN, VERDICT]),
    lambda inner: inner.map(list_of) | inner.map(optional),
    max_leaves=4,
)


def values(expected: Type) -> st.SearchStrategy[Value]:
    """Values of a type."""
    if expected.is_optional:
        return st.none() | values(expected.present)
    if expected.is_list:
        return st.lists(values(expected.element or JSON), max_size=3)
    if expected.fields is not None:
        made = {f.name: st.sampled_from(f.choices) if f.choices else values(f.type) for f in expected.fields}
        return st.fixed_dictionaries(made)
    number = st.integers(-(2**63), 2**63 - 1)
    decimal = st.floats(allow_nan=False, allow_infinity=False)
    text = st.text(max_size=3)
    return {
        "str": text,
        "int": number,
        "float": decimal,
        "bool": st.booleans(),
        "json": st.recursive(
            st.none() | st.booleans() | number | decimal | text,
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
            max_leaves=4,
        ),
    }[expected.name]


# --- text ------------------------------------------------------------------------------------------------------------


@given(types)
def test_a_type_is_read_back_from_its_text(type_: Type) -> None:
    assert parse_type(str(type_), RECORDS) == type_


@pytest.mark.parametrize(
    "text",
    [
        *("", "?", "strs", "str??", "list[str", "list[]", "list[str]]", "list", "none?", "list[none]", "optional"),
        *("null", "Person ", "person", "{draft: str}", "list[" * (DEEPEST_TYPE + 1) + "str" + "]" * (DEEPEST_TYPE + 1)),
    ],
)
def test_what_is_no_text_of_a_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown type"):
        parse_type(text, RECORDS)


def test_a_record_is_printed_by_its_name_and_by_its_fields_where_it_has_none() -> None:
    texts = [str(t) for t in (list_of(optional(PERSON)), optional(list_of(INT)), SCRATCH, PLAN, optional(VERDICT))]
    assert texts == ["list[Person?]", "list[int]?", "{draft: str, round: int}", "plan", "verdict?"]


def test_a_record_that_no_program_declares_is_an_unknown_type() -> None:
    with pytest.raises(ValueError, match=r"unknown type 'list.Person.'"):
        parse_type("list[Person]")


def test_an_optional_of_an_optional_is_one() -> None:
    assert optional(optional(STR)) == optional(STR)
    assert optional(STR).present == STR == STR.present


# --- limits ----------------------------------------------------------------------------------------------------------


def test_records_that_multiply_are_refused_before_they_are_large() -> None:
    def doubled(times: int) -> Type:
        record = record_of("R", [RecordField("a", STR), RecordField("b", STR)])
        for _ in range(times):
            record = record_of("R", [RecordField("a", record), RecordField("b", record)])
        return record

    assert excess(doubled(7)) is None
    with pytest.raises(ValueError, match=f"has more than {MOST_FIELDS:,} fields"):
        doubled(100)


def test_a_type_nests_so_deep_and_no_deeper() -> None:
    deep = STR
    for _ in range(DEEPEST_TYPE):
        deep = list_of(deep)
    assert (deep.depth, excess(deep)) == (DEEPEST_TYPE, None)
    with pytest.raises(ValueError, match="nests deeper"):
        record_of("R", [RecordField("a", deep)])


# --- what converts ---------------------------------------------------------------------------------------------------


def converts(source: str, target: str) -> bool:
    """The rule of docs/language.md, read from the texts of types."""
    if source in ("plan", "verdict") and target == "str":
        return True

    def widens(source: str, target: str) -> bool:
        if source == target or target == "json" or (source, target) == ("int", "float"):
            return True
        if target.endswith("?"):
            return source == "null" or widens(source.removesuffix("?"), target[:-1])
        lists = source.endswith("]") and target.endswith("]")
        return lists and widens(source[5:-1], target[5:-1])

    return widens(source, target)


@given(types | st.just(NULL), types)
def test_what_converts_to_what(source: Type, target: Type) -> None:
    assert assignable(source, target) == converts(str(source), str(target))


@given(types)
def test_null_converts_to_what_may_be_null_alone(target: Type) -> None:
    assert assignable(NULL, target) == (target.is_optional or target == JSON) == conforms(None, target)


def test_a_record_converts_to_json_alone_and_nothing_to_or_from_none() -> None:
    same = record_of("Employee", PERSON.fields or ())
    assert [assignable(PERSON, same), castable(PERSON, same)] == [False, False]
    assert [assignable(PERSON, JSON), castable(JSON, PERSON)] == [True, True]
    assert not any(assignable(*pair) for t in (NONE, STR, JSON, PERSON) for pair in ((t, NONE), (NONE, t)))


@given(types, types)
def test_what_converts_can_be_said_by_as_and_json_can_be_anything(source: Type, target: Type) -> None:
    assert castable(source, target) or not assignable(source, target)
    assert castable(JSON, target)
    if source.name not in BUILT_IN:
        assert castable(optional(source), target) == castable(source, target)


@pytest.mark.parametrize(
    ("source", "target", "may"),
    [
        (FLOAT, INT, False),
        (STR, INT, False),
        (INT, FLOAT, True),
        (list_of(JSON), list_of(INT), True),
        (optional(list_of(JSON)), list_of(optional(INT)), True),
        (optional(VERDICT), STR, False),
        (list_of(VERDICT), list_of(STR), False),
        (list_of(STR), JSON, True),
        (STR, list_of(STR), False),
    ],
)
def test_what_as_may_say(source: Type, target: Type, may: bool) -> None:
    assert castable(source, target) is may


@pytest.mark.parametrize(
    ("several", "joined"),
    [
        ([STR, NULL], optional(STR)),
        ([NULL], NULL),
        ([INT, optional(FLOAT)], optional(FLOAT)),
        ([FLOAT, optional(INT)], optional(FLOAT)),
        ([INT, NULL, STR], None),
        ([JSON, NULL], JSON),
        ([optional(JSON)], optional(JSON)),
        ([optional(STR), JSON], JSON),
        ([VERDICT, STR], STR),
        ([PERSON, TEAM], None),
        ([PERSON, JSON], JSON),
        ([PERSON, NULL, optional(PERSON)], optional(PERSON)),
        ([BOOL, BOOL], BOOL),
    ],
)
def test_the_type_of_several(several: list[Type], joined: Type | None) -> None:
    for ordered in permutations(several):
        assert common_type(ordered) == joined


@given(st.lists(types | st.just(NULL), min_size=1, max_size=4))
def test_all_convert_to_the_type_of_several(several: list[Type]) -> None:
    joined = common_type(several)
    assert joined is None or all(assignable(found, joined) for found in several)


# --- values ----------------------------------------------------------------------------------------------------------


@given(st.data(), types)
def test_a_value_of_a_type_is_one_and_stays_as_it_is(data: st.DataObject, type_: Type) -> None:
    value = data.draw(values(type_))
    assert conforms(value, type_)
    written = json.dumps(value, sort_keys=True)
    for made in (plain(value, type_, "x"), converted(value, type_)):
        assert json.dumps(made, sort_keys=True) == written


@given(st.data(), types, types)
def test_what_converts_is_made_one_without_a_failure(data: st.DataObject, source: Type, target: Type) -> None:
    if assignable(source, target) and source.name not in BUILT_IN:
        made = converted(data.draw(values(source)), target)
        assert conforms(made, target)


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        ({"note": 1, "name": "Ada"}, PERSON, {"name": "Ada", "age": None, "note": 1}),
        ({"people": [], "size": 2}, TEAM, {"people": [], "size": 2.0}),
        ({"people": []}, TEAM, {"people": [], "size": 1.5}),
        ([None, 1], list_of(optional(FLOAT)), [None, 1.0]),
    ],
)
def test_a_record_gets_its_fields_in_their_order_and_its_defaults(value: Value, type_: Type, expected: Value) -> None:
    for made in (plain(value, type_, "x"), converted(value, type_)):
        assert json.dumps(made) == json.dumps(expected)
        assert conforms(made, type_)


def test_what_a_record_has_no_field_for_is_refused_as_an_input_and_left_out_by_as() -> None:
    given_ = {"people": [{"name": "Ada", "note": None, "nmae": 1}]}
    with pytest.raises(
        ValueError, match=r"^x must be a Team, and x.people\[0\].nmae is no field of it; there are: name"
    ):
        plain(given_, TEAM, "x")
    kept = [{"name": "Ada", "age": None, "note": None}]
    assert converted(given_, TEAM)["people"] == plain(given_, TEAM, "x", leaves_out=True)["people"] == kept


@pytest.mark.parametrize(
    ("value", "type_", "message"),
    [
        ("12", INT, "expected an int, found a str"),
        (None, STR, "expected a str, found null"),
        (2.5, INT, "expected an int, found 2.5"),
        (True, FLOAT, "expected a float, found true"),
        ({"a": 1}, list_of(INT), "expected a list[int], found an object"),
        ([1, None], list_of(INT), "expected a list[int], and the value[1] is null"),
        ({"people": [{"name": "Ada"}]}, TEAM, "expected a Team, and the value.people[0].note is missing"),
        ({"people": [{"name": 1, "note": 1}]}, TEAM, "expected a Team, and the value.people[0].name is 1"),
        (
            {"reason": "", "label": "maybe", "confidence": 1},
            VERDICT,
            "expected a verdict, and the value.label is 'maybe', not one of confirmed, refuted, insufficient",
        ),
        ([], PERSON, "expected a Person, found a list of 0"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(value: Value, type_: Type, message: str) -> None:
    with pytest.raises(OperationError) as failed:
        converted(value, type_)
    assert (failed.value.kind, failed.value.message) == ("wrong_type", message)


def test_a_wide_list_of_shared_parts_is_converted_once() -> None:
    shared: Value = {"name": "Ada", "note": 1}
    for _ in range(40):
        shared = [shared, shared]
    type_ = PERSON
    for _ in range(40):
        type_ = list_of(type_)
    made = converted(shared, type_)
    assert made[0] is made[1]


# --- in an artifact --------------------------------------------------------------------------------------------------


@given(types)
def test_a_type_survives_an_artifact(type_: Type) -> None:
    packed = msgspec.msgpack.encode(type_)
    assert msgspec.msgpack.decode(packed, type=Type) == type_
