"""Types as schemas that strict endpoints take, and values drawn from those, read back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.backends.shapes import drawn
from apxm.operations.answers import AnswerReader
from apxm.operations.schemas import answer_format
from apxm.operations.types import (
    BOOL,
    FLOAT,
    INT,
    JSON,
    PLAN,
    STR,
    VERDICT,
    RecordField,
    Type,
    conforms,
    list_of,
    optional,
    record_of,
)

Json = dict[str, Any]
KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "description"}
PERSON = record_of(
    "Person",
    [
        RecordField("name", STR, "as written"),
        RecordField("age", optional(INT), "", "null"),
        RecordField("tags", list_of(STR), "", "[]"),
        RecordField("mood", STR, "", '"calm"', ("calm", "cross")),
    ],
)


def schema(expected: Type, *choices: str) -> Json:
    return json.loads(answer_format(expected, choices).schema)


def object_of(**properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def test_a_record_has_all_its_fields_and_null_for_those_that_may_be_left_out() -> None:
    null = {"type": "null"}
    assert schema(PERSON) == object_of(
        name={"description": "as written", "type": "string"},
        age={"anyOf": [{"type": "integer"}, null]},
        tags={"anyOf": [{"type": "array", "items": {"type": "string"}}, null]},
        mood={"anyOf": [{"type": "string", "enum": ["calm", "cross"]}, null]},
    )


def test_what_is_no_object_is_wrapped_in_one() -> None:
    assert schema(list_of(FLOAT)) == object_of(answer={"type": "array", "items": {"type": "number"}})
    assert schema(optional(BOOL)) == object_of(answer={"anyOf": [{"type": "boolean"}, {"type": "null"}]})
    assert schema(STR, "Yes", "no") == object_of(answer={"type": "string", "enum": ["Yes", "no"]})


def test_only_what_may_be_any_json_is_not_strict() -> None:
    assert schema(JSON) == object_of(answer={})
    assert not answer_format(JSON).strict
    assert not answer_format(record_of("R", [RecordField("x", list_of(optional(JSON)))])).strict
    assert all(answer_format(expected).strict for expected in (PERSON, PLAN, VERDICT, list_of(PERSON)))


def test_a_format_has_a_name_that_every_endpoint_takes() -> None:
    names = [answer_format(t).name for t in (PERSON, list_of(optional(PERSON)), record_of("é", []), JSON)]
    assert names == ["Person", "list_Person", "answer", "json"]
    assert answer_format(STR, ["a"]).name == "choice"
    assert len(answer_format(record_of("R" * 100, [])).name) == 64


types = st.recursive(
    st.sampled_from([STR, INT, FLOAT, BOOL, JSON, PERSON, PLAN, VERDICT]),
    lambda inner: st.one_of(
        inner.map(list_of),
        inner.map(optional),
        st.lists(inner, max_size=3).map(
            lambda fields: record_of("R", [RecordField(f"f{i}", field) for i, field in enumerate(fields)])
        ),
    ),
    max_leaves=5,
)


def objects_in(part: Any) -> list[Json]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [*([part] if isinstance(part, dict) else []), *(found for each in inner for found in objects_in(each))]


def without_names(part: Any) -> Any:
    """A schema with the schemas of its properties in a list: names of fields are no keywords."""
    if isinstance(part, dict):
        return {
            k: [without_names(p) for p in v.values()] if k == "properties" else without_names(v)
            for k, v in part.items()
        }
    return [without_names(each) for each in part] if isinstance(part, list) else part


@given(types)
def test_a_schema_keeps_to_what_strict_endpoints_take(expected: Type) -> None:
    whole = schema(expected)
    assert whole["type"] == "object"
    for part in objects_in(without_names(whole)):
        assert part.keys() <= KEYWORDS
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert len(part["required"]) == len(part["properties"])


@settings(deadline=None)
@given(types, st.integers(0, 9))
def test_what_fits_the_schema_is_read_as_a_value_of_the_type(expected: Type, seed: int) -> None:
    value = drawn(answer_format(expected).schema.encode(), str(seed))
    assert conforms(AnswerReader(expected).read(msgspec.json.encode(value).decode()), expected)
