"""Values that fit a schema, as another implementation of JSON Schema sees it, and schemas that none is made for."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from apxm.backends.examples import example
from apxm.backends.schemas import SchemaError, read_schema

Json = dict[str, Any]
NODE: Json = {
    "type": "object",
    "properties": {
        "value": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
    },
    "required": ["value", "children", "next"],
    "additionalProperties": False,
}


def examples(schema: object, times: int = 20) -> list[Any]:
    read = read_schema(json.dumps(schema).encode())
    return [example(read, seed) for seed in range(times)]


FITTING: list[Any] = [
    True,
    {},
    {"type": ["integer", "null"]},
    {"const": {"a": [1]}},
    {"enum": [None, 1, "a"], "type": ["string", "null"]},
    {"type": "string", "nullable": True},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
    {"type": "integer", "multipleOf": 7, "minimum": 50},
    {"type": "integer", "multipleOf": 1.5, "minimum": -4},
    {"type": "integer", "maximum": -10},
    {"type": "number", "multipleOf": 0.1, "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-9},
    {"type": "number", "minimum": 1e300},
    {"minimum": 5},
    {"type": "string", "minLength": 30},
    {"type": "string", "maxLength": 3},
    {"type": "string", "pattern": "^[A-Z]{3}-\\d+$", "maxLength": 6},
    {"type": "string", "pattern": "^\\+?[1-9]\\d{1,14}$"},
    {"type": "string", "pattern": "a", "minLength": 10},
    {"type": "string", "pattern": "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$"},  # pydantic's Decimal
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 4},
    {"type": "array", "maxItems": 0},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": False, "minItems": 2},
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    {"type": "array", "contains": {"const": 5}, "minContains": 2},
    {"type": "object"},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    {"type": "object", "patternProperties": {"^k\\d$": {"type": "integer"}}, "additionalProperties": False},
    {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "minProperties": 2},
    {"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1, "maxProperties": 1},
    {"type": "object", "properties": {"a": False, "b": True}, "required": ["b", "undeclared"]},
    {"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}},
    {"properties": {"a": {"type": "integer", "default": 5}, "b": {"type": "string", "examples": ["Rome", "Oslo"]}}},
    {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}]},
    {"type": "string", "anyOf": [{"minLength": 20}, {"pattern": "^x$"}]},
    {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    {"not": {"type": "string"}},
    {"allOf": [{"properties": {"x": {"type": "number"}}, "required": ["x"]}, {"properties": {"x": {"minimum": 5}}}]},
    {"allOf": [{"type": ["number", "string"]}, {"type": ["integer", "null"]}, {"anyOf": [{"minimum": 7}]}]},
    {
        "type": "object",
        "properties": {"kind": {"enum": [1, 2]}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": 1}}},
        "then": {"required": ["one"]},
        "else": {"required": ["two"]},
    },
    {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
    {"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"$ref": "#/definitions/c"}, "c": {"type": "integer"}}},
    {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "integer"}]},
]


@pytest.mark.parametrize("schema", FITTING, ids=json.dumps)
def test_a_value_fits_its_schema(schema: Any) -> None:
    validator = validator_for(schema, default=Draft202012Validator)(schema)
    for value in examples(schema):
        validator.validate(json.loads(json.dumps(value)))


FORMATS = {
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d:\d\dZ",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "email": r"\w+@example\.com",
    "hostname": r"\w+\.example\.com",
    "uri": r"https://example\.com/\w+",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "ipv4": r"192\.0\.2\.\d+",
    "ipv6": r"2001:db8::[0-9a-f]+",
    "duration": r"PT\d+M",
}


@pytest.mark.parametrize("format", FORMATS)
def test_a_text_has_its_format(format: str) -> None:
    (text,) = examples({"type": "string", "format": format}, 1)
    Draft202012Validator({"pattern": f"^{FORMATS[format]}$"}).validate(text)


def test_a_value_follows_from_schema_and_seed() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    assert examples(schema) == examples(schema)
    assert len({json.dumps(value) for value in examples(schema)}) > 10


def test_all_properties_are_there_in_their_order() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}, "required": ["a"]}
    assert all(list(value) == ["b", "a"] for value in examples(schema))


def test_each_branch_is_taken_at_times() -> None:
    values = examples({"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]})
    assert {type(value) for value in values} == {int, str, type(None)}


def test_a_default_is_taken_at_times() -> None:
    values = examples({"type": "integer", "minimum": 1000, "default": 5000}, 40)
    assert 5000 in values
    assert len(set(values)) > 10


def test_a_recursive_value_has_some_levels_and_an_end() -> None:
    def levels(node: Any) -> int:
        return 0 if node is None else 1 + max([levels(child) for child in [*node["children"], node["next"]]], default=0)

    assert {levels(value) for value in examples({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}})} <= set(range(2, 8))


UNFIT: list[tuple[Any, str]] = [
    (5, "expected an object"),
    (False, "is false"),
    ({"type": "strin"}, "'strin' is not valid .*/type"),
    ({"minLength": -1}, "minimum .*/minLength"),
    ({"type": "string", "pattern": "("}, "is not a 'regex'"),
    ({"type": "string", "pattern": "(a)\\1"}, "no text is made for the pattern"),
    ({"type": "string", "pattern": "((a{1000}){1000}){1000}"}, "more than 10000 characters"),
    ({"type": "string", "minLength": 10**9}, "more than 20000"),
    ({"type": "array", "minItems": 10**9}, "more than 20000"),
    ({"type": "integer", "minimum": 5, "maximum": 3}, "no value was found .* maximum"),
    ({"type": "string", "enum": [1]}, "no value was found"),
    ({"not": {}}, "no value was found"),
    ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "two types"),
    ({"type": "object", "required": ["a"], "additionalProperties": False}, "is false"),
    ({"$ref": "#/$defs/nowhere"}, "leads nowhere"),
    ({"$ref": "https://example.com/schema"}, "leads out of the schema"),
    ({"$dynamicRef": "#x"}, "not served"),
    ({"$defs": {"a": {"$id": "https://example.com/a"}}}, "not served"),
    ({"$schema": 5}, "no address"),
    ({"if": {"$ref": "#"}}, "in a circle"),
    ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "in a circle"),
    ({"$ref": "#"}, "in a circle"),
    ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no value of it ends"),
]


@pytest.mark.parametrize(("schema", "said"), UNFIT, ids=json.dumps)
def test_a_schema_that_no_value_is_made_for(schema: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        examples(schema, 1)


def test_a_schema_that_doubles_at_each_level_is_refused_before_it_is_written() -> None:
    levels = {f"d{n}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
    levels = {name: {**level, "minItems": 2} for name, level in levels.items()} | {"d30": {"type": "integer"}}
    with pytest.raises(SchemaError, match="more than 20000"):
        examples({"$ref": "#/$defs/d0", "$defs": levels}, 1)


@pytest.mark.parametrize("levels", [70, 3000])
def test_a_schema_that_is_deep_is_refused_whatever_is_deep_in_it(levels: int) -> None:
    chained = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(levels)} | {f"d{levels}": {}}
    values = {f"d{n}": {"minItems": 1, "items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(levels)}
    with pytest.raises(SchemaError, match="nested"):
        read_schema(b'{"items": ' * levels + b"{}" + b"}" * levels)
    with pytest.raises(SchemaError, match="follow each other"):
        read_schema(msgspec.json.encode({"$ref": "#/$defs/d0", "$defs": chained}))
    if levels < 1000:
        with pytest.raises(SchemaError, match="levels deep"):
            examples({"$ref": "#/$defs/d0", "$defs": {**values, f"d{levels}": {"type": "null"}}}, 1)


# --- any schema ----------------------------------------------------------------------------------------------------

small = st.integers(0, 4)
scalars = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span}, st.integers(-9, 9), small),
    st.builds(lambda low, span: {"type": "number", "minimum": low, "maximum": low + span}, st.floats(-9, 9), small),
    st.builds(lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span}, small, small),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers(0, 3), min_size=1, unique=True)),
    st.sampled_from([{"type": "string", "pattern": "^[a-f]{2,4}(-\\d)?$"}, {"format": "uuid", "type": "string"}]),
)


def containers(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    named = st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    return st.one_of(
        st.builds(lambda items, low: {"type": "array", "items": items, "minItems": low}, inner, small),
        st.builds(lambda first: {"type": "array", "prefixItems": first, "items": False}, st.lists(inner, min_size=1)),
        st.builds(lambda of: {"type": "object", "properties": of, "required": sorted(of)[:1]}, named),
        st.builds(lambda of: {"type": "object", "properties": of, "additionalProperties": False}, named),
        st.builds(lambda of: {"type": "object", "additionalProperties": of, "minProperties": 1}, inner),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"allOf": [part, {"title": "A part"}]}, inner),
    )


@settings(max_examples=150, deadline=None)
@given(st.recursive(scalars, containers, max_leaves=8), st.integers(0, 2**60))
def test_a_value_fits_whatever_its_schema(schema: Json, seed: int) -> None:
    value = example(read_schema(json.dumps(schema).encode()), seed)
    Draft202012Validator(schema).validate(json.loads(json.dumps(value)))


PLAIN: list[Any] = [
    {},
    {"type": "integer", "description": "how many"},
    {"type": "string", "enum": ["yes", "no"]},
    {"anyOf": [{"type": "number"}, {"type": "null"}]},
    {"type": "array", "items": {"type": "boolean"}},
    {
        "type": "object",
        "title": "Note",
        "properties": {"type": {"type": "string"}, "enum": {"type": "array", "items": {}}, "anyOf": {"type": "null"}},
        "required": ["type", "anyOf"],
        "additionalProperties": False,
    },
]


@pytest.mark.parametrize("schema", PLAIN)
def test_what_is_made_of_a_plain_schema_fits_though_nobody_looks(schema: Any) -> None:
    found = read_schema(json.dumps(schema).encode())
    assert found.is_plain
    for seed in range(20):
        assert Draft202012Validator(schema).is_valid(example(found, seed))


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"type": "integer", "minimum": 1},
        {"type": "string", "enum": ["yes", 1]},
        {"type": "integer", "enum": ["yes"]},
        {"type": ["string", "null"]},
        {"type": "string", "title": 5},
        {"anyOf": [{"type": "string"}], "type": "string"},
        {"anyOf": [{"type": "string"}, {"type": "string", "minLength": 3}]},
        {"type": "array", "items": {"type": "string", "pattern": "^a$"}},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        {"type": "object", "properties": {}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {}, "required": [], "additionalProperties": True},
    ],
)
def test_of_any_other_schema_values_are_looked_at(schema: Any) -> None:
    try:
        assert not read_schema(json.dumps(schema).encode()).is_plain
    except SchemaError:  # its title is none
        assert schema["title"] == 5


def test_an_answer_of_a_program_is_drawn_without_the_library_that_checks_schemas() -> None:
    script = """
import sys
import apxm
source = '''type Note { of: str?  tags: list[str]  kind: str }
agent A { @entry flow f() -> list[Note] { return ask("Q", schema: list[Note]) } }'''
result = apxm.run(apxm.compile_text(source), backend="simulated", journal=False)
print(sorted(result.value[0]), "jsonschema" in sys.modules)
"""
    made = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert made.stdout == "['kind', 'of', 'tags'] False\n"
