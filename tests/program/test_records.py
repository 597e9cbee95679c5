"""The types in an artifact: what is none is refused, whatever stands there."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apxm.compiler.pipeline import compile_source
from apxm.errors import ApxmError, ArtifactError
from apxm.operations.types import (
    DEEPEST_TYPE,
    INT,
    JSON,
    PLAN,
    STR,
    VERDICT,
    RecordField,
    Type,
    list_of,
    optional,
    record_of,
)
from apxm.program.codec import decode, encode
from apxm.program.expressions import Cast, Literal, TextForm
from apxm.program.nodes import Compute
from apxm.program.program import Program
from apxm.program.verify import verify
from apxm.source import SourceFile
from apxm.testing import execute_virtually
from tests.plans import plan, program
from tests.program.test_codec import HEADER, resealed

ITEM = record_of("Item", [RecordField("name", STR), RecordField("count", optional(INT), default="null")])
BOX = record_of("Box", [RecordField("items", list_of(ITEM), default="[]")])


def deep(levels: int) -> Type:
    found = STR
    for _ in range(levels):
        found = Type("list", found)
    return found


def declaring(*records: Type) -> Program:
    return replace(program(plan()), records=records)


def test_records_come_back_as_they_were() -> None:
    again = decode(encode(declaring(ITEM, BOX)))
    assert again.record_types == {"Item": ITEM, "Box": BOX}


BAD_RECORDS = {
    "no fields": ((Type("Item"),), "'Item' cannot be a record"),
    "no name": ((record_of("", []),), "'' cannot be a record"),
    "a name of the language": ((Type("plan", fields=()),), "'plan' cannot be a record"),
    "twice": ((ITEM, ITEM), "'Item' cannot be a record"),
    "before what is in it": ((BOX, ITEM), "the record 'Box' has an unknown type 'Item'"),
    "another one inside": ((record_of("Item", []), BOX), "the record 'Box' has an unknown type 'Item'"),
    "two fields of one name": (
        (Type("A", fields=(RecordField("x", STR), RecordField("x", INT))),),
        "the record 'A' has two fields of one name",
    ),
    "an unknown scalar": ((Type("A", fields=(RecordField("x", Type("wish")),)),), "has an unknown type 'wish'"),
    "a list of nothing": ((Type("A", fields=(RecordField("x", Type("list")),)),), "has a malformed type 'list'"),
    "an optional of one": (
        (Type("A", fields=(RecordField("x", Type("optional", optional(STR))),)),),
        "has a malformed type 'optional'",
    ),
    "a scalar with an element": ((Type("A", fields=(RecordField("x", Type("str", STR)),)),), "unknown type 'str'"),
    "no type at all": ((Type("A", fields=(RecordField("x", Type("")),)),), "has a type without a name"),
    "a default of another type": (
        (Type("A", fields=(RecordField("x", INT, default='"1"'),)),),
        "has a default for 'x' that is no int",
    ),
    "a default that is no JSON": ((Type("A", fields=(RecordField("x", JSON, default="nul"),)),), "that is no json"),
    "a default that nests": ((Type("A", fields=(RecordField("x", JSON, default="[" * 9**5),)),), "that is no json"),
    "choices of a number": (
        (Type("A", fields=(RecordField("x", INT, choices=("1",)),)),),
        "has choices for 'x', which is no text",
    ),
    "too deep": ((Type("A", fields=(RecordField("x", deep(DEEPEST_TYPE)),)),), "the record 'A' nests deeper than 64"),
    "too many fields": (
        (Type("A", fields=tuple(RecordField(f"x{i}", STR) for i in range(1001))),),
        "the record 'A' has more than 1,000 fields",
    ),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_record_that_is_none(name: str) -> None:
    records, message = BAD_RECORDS[name]
    for load in (verify, lambda made: decode(encode(made))):
        with pytest.raises(ArtifactError) as caught:
            load(declaring(*records))
        assert message in str(caught.value)


BAD_TYPES = {
    "a record that the program has not": (BOX, "has an unknown type 'Box'"),
    "a record with other fields": (record_of("Item", []), "has an unknown type 'Item'"),
    "a plan with other fields": (Type("plan", fields=()), "has an unknown type 'plan'"),
    "too deep": (deep(DEEPEST_TYPE + 1), "nests deeper than 64 levels"),
}


@pytest.mark.parametrize("name", BAD_TYPES)
def test_a_type_of_a_cast_that_is_none(name: str) -> None:
    type_, message = BAD_TYPES[name]
    casting = plan(Compute(value=Cast(Literal(1), type_)))
    with pytest.raises(ArtifactError) as caught:
        verify(replace(program(casting), records=(ITEM,)))
    assert message in str(caught.value)
    for good in (ITEM, optional(list_of(ITEM)), PLAN, VERDICT, deep(DEEPEST_TYPE)):
        verify(replace(program(plan(Compute(value=Cast(Literal(1), good)))), records=(ITEM,)))


def test_text_of_a_record_that_has_no_form_of_its_own() -> None:
    with pytest.raises(ArtifactError, match="makes text of a 'Item'"):
        verify(replace(program(plan(Compute(value=TextForm(Literal(1), "Item")))), records=(ITEM,)))


def test_a_type_that_nests_without_end_is_refused_before_anything_recurses_over_it() -> None:
    packed = msgspec.msgpack.encode(replace(program(plan()), records=(ITEM,)))
    one = msgspec.msgpack.encode(Type("list", STR))
    head, _, tail = one.partition(msgspec.msgpack.encode(STR))
    endless = packed.replace(msgspec.msgpack.encode(STR), head * 20_000 + msgspec.msgpack.encode(STR) + tail * 20_000)
    with pytest.raises(ArtifactError):
        decode(resealed(endless, 0))


SOURCE = """
    type Item { name: str "as written"   count: int? }
    type Box { items: list[Item] = [{"name": "a"}]   v: verdict? }
    agent A {
        @entry flow main(j: json = {"items": [{"name": "b"}]}, b: Box = {}) -> json {
            let c = j as Box
            print(c.items, b.v, "" + (b.v as verdict))
            return {"c": c, "n": (j as list[Item?])}
        }
    }
"""
GOOD = encode(compile_source(SourceFile("a.ais", SOURCE), level=0).program)
NAMES = int.from_bytes(GOOD[8:12], "little")
PAYLOAD = GOOD[HEADER:]


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(PAYLOAD) - NAMES - 1), replacement=st.binary(min_size=1, max_size=4))
def test_a_mutated_artifact_with_records_is_refused_or_runs_to_an_end(position: int, replacement: bytes) -> None:
    payload = PAYLOAD[:position] + replacement + PAYLOAD[position + len(replacement) :]
    with contextlib.suppress(ApxmError):
        found = decode(resealed(payload, NAMES))
        execute_virtually(found, arguments=[p.default for p in found.flows[0].parameters])
