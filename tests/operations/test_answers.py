"""Answers as models write them, read as values, and what is said of those that do not fit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.errors import OperationError
from apxm.operations.answers import UNFIT, AnswerReader
from apxm.operations.types import (
    BOOL,
    FLOAT,
    INT,
    JSON,
    STR,
    RecordField,
    Type,
    Value,
    list_of,
    optional,
    record_of,
)

PERSON = record_of(
    "Person",
    [
        RecordField("name", STR),
        RecordField("age", INT),
        RecordField("tags", list_of(STR), "", "[]"),
        RecordField("nick", optional(STR), "", "null"),
    ],
)
TEAM = record_of("Team", [RecordField("lead", PERSON), RecordField("others", list_of(PERSON), "", "[]")])
ADA = '{"name": "Ada", "age": 36}'
READ = {"name": "Ada", "age": 36, "tags": [], "nick": None}
LABELS = ["Billing", "tech support"]


def refused(text: str, expected: Type, *choices: str) -> str:
    with pytest.raises(OperationError) as refusal:
        AnswerReader(expected, choices).read(text)
    assert refusal.value.kind == UNFIT
    return refusal.value.message


@pytest.mark.parametrize(
    "text",
    [
        ADA,
        f"\n {ADA}\n",
        f"```json\n{ADA}\n```",
        f"Here you are:\n```\n{ADA}\n```\nAnything else?",
        f"The person {{as asked}} is {ADA}. Or [not].",
        f"I thought about [1, 2] first. {ADA}",
        f"{ADA} and once more: {ADA}",
        f"```json\n{ADA}\n```\nNot this: {ADA.replace('36', '37')}",
        '{"age": 36.0, "name": "Ada", "tags": null, "nick": null, "confidence": 1}',
    ],
)
def test_an_answer_is_found_where_models_put_it(text: str) -> None:
    value = AnswerReader(PERSON).read(text)
    assert value == READ
    assert [*value] == [*READ], "fields have the order of the record"
    assert type(value["age"]) is int


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        (list_of(PERSON), f'{{"answer": [{ADA}]}}', [READ]),
        (list_of(PERSON), f"[{ADA}]", [READ]),
        (list_of(INT), "The numbers: [1, 2]", [1, 2]),
        (optional(PERSON), '{"answer": null}', None),
        (optional(PERSON), ADA, READ),
        (INT, '{"answer": 5, "why": "so"}', 5),
        (INT, "5", 5),
        (FLOAT, '{"answer": 5}', 5.0),
        (BOOL, "true", True),
        (JSON, '{"answer": {"a": [1.0]}}', {"a": [1.0]}),
        (JSON, '{"answer": 1, "b": 2}', {"answer": 1, "b": 2}),
        (TEAM, f'{{"lead": {ADA}, "others": null}}', {"lead": READ, "others": []}),
    ],
)
def test_it_may_leave_out_the_object_around_it(expected: Type, text: str, value: Value) -> None:
    read = AnswerReader(expected).read(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Billing", "Billing"),
        (" billing.\n", "Billing"),
        ("**TECH SUPPORT**", "tech support"),
        ('"billing"', "Billing"),
        ('{"answer": "billing"}', "Billing"),
        ('{"answer": "Tech support."}', "tech support"),
        ("```\nbilling\n```", "Billing"),
        ('Sure: {"answer": "billing"}', "Billing"),
    ],
)
def test_a_label_is_compared_as_a_switch_compares(text: str, label: str) -> None:
    assert AnswerReader(STR, LABELS).read(text) == label


FIT = "the answer does not fit: "


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected JSON of the type Person, found nothing"),
        ("I do not know.", 'expected JSON of the type Person, found "I do not know."'),
        ('{"name": "Ada"}', "expected a Person, and the value.age is missing"),
        ('{"name": "Ada", "age": "36"}', "expected a Person, and the value.age is a str"),
        ('{"name": "Ada", "age": 36.5}', "expected a Person, and the value.age is 36.5"),
        ('{"name": "Ada", "age": null}', "expected a Person, and the value.age is null"),
        ('{"name": "Ada", "age": 9223372036854775808}', "the value.age is a number that is too large"),
        ('{"name": "Ada", "age": 1, "tags": ["a", 5]}', "expected a Person, and the value.tags[1] is 5"),
        (f"[{ADA}]", "expected a Person, found a list of 1"),
        ('```json\n{"name": 5, "age": 1}\n```', "expected a Person, and the value.name is 5"),
        ('{"name": "Ada", "age": 36', "expected JSON of the type Person, found"),
        (f"{ADA} or {ADA.replace('36', '37')}", "expected one value, found 2 that differ"),
        ('{"name": "\\ud800", "age": 1}', "expected JSON of the type Person, found"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text: str, why: str) -> None:
    message = refused(text, PERSON)
    assert message.startswith(FIT)
    assert why in message


def test_a_number_that_no_float_holds_is_told_of() -> None:
    with pytest.raises(OperationError) as caught:
        AnswerReader(list_of(FLOAT)).read("[1e400]")
    assert caught.value.message == (
        "the answer does not fit: expected JSON of the type list[float], found a number that is too large for any"
    )


@pytest.mark.parametrize("text", ["probably billing", "billing, tech support", '{"answer": "sales"}', "", "5"])
def test_no_label_is_guessed(text: str) -> None:
    assert refused(text, STR, *LABELS).startswith(f'{FIT}expected one of "Billing", "tech support", found ')


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 100_000, "```\n" * 100_000, "{" * 1_000_000, "``` " * 100_000]
)
def test_what_is_long_and_broken_is_refused(text: str) -> None:
    refused(text, PERSON)
    refused(text, JSON)


@given(st.text(), st.sampled_from([PERSON, list_of(INT), JSON, optional(BOOL)]))
def test_whatever_comes_it_is_read_or_refused(text: str, expected: Type) -> None:
    try:
        value = AnswerReader(expected).read(text)
    except OperationError:
        return
    json.dumps(value, allow_nan=False)
