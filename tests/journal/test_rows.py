"""Rows: what goes in comes out, and what they add up to."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apxm.errors import JournalError
from apxm.journal.catalog import read
from apxm.journal.format import decode_header, encode
from apxm.journal.per_run import APPLICATION_ID, SCHEMA
from apxm.journal.rows import (
    Answered,
    Ended,
    History,
    Printed,
    Reserved,
    Resumed,
    Row,
    Settled,
    Started,
    TimedRow,
    digest_of,
)
from apxm.program.codec import decode
from tests.journal.journals import HEADER, RUN_ID, SMALL, write

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
numbers = st.integers(-(2**63), 2**63 - 1)
costs = st.none() | st.floats(allow_nan=False, allow_infinity=False)
counts = st.none() | st.integers(0, 2**40)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
rows: st.SearchStrategy[Row] = st.one_of(
    st.builds(Answered, texts, st.binary(max_size=32), values, st.none() | texts, counts, counts),
    st.builds(Started, texts, st.binary(max_size=32), texts),
    st.builds(Printed, st.integers(0, 2**40), texts),
    st.builds(Reserved, texts, st.integers(0, 9), st.integers(0, 2**40), costs),
    st.builds(Settled, texts, st.integers(0, 9), st.integers(0, 2**40), costs),
    st.builds(Resumed, texts),
    st.builds(Ended, texts, texts),
)


@settings(max_examples=30, deadline=None)
@given(appended=st.lists(rows, max_size=20))
def test_a_file_gives_back_what_was_appended(appended: list[Row]) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder), appended)
        history = read(Path(folder), RUN_ID)
    assert history.header == HEADER
    assert decode(history.header.program) == SMALL
    assert [record.row for record in history.records] == appended


def test_digests_of_inputs_tell_apart_what_a_prompt_would_show_differently() -> None:
    one = digest_of([{"a": 1, "b": 2}])
    assert one == digest_of(({"a": 1, "b": 2},))
    assert one not in (digest_of([{"b": 2, "a": 1}]), digest_of([{"a": 1, "b": 3}]), digest_of([{"a": 1.0, "b": 2}]))


def history(*appended: Row) -> History:
    made = History(HEADER)
    for row in appended:
        made.add(TimedRow(0.0, row))
    return made


def test_a_result_says_the_outcome_of_what_was_started() -> None:
    first, second = Started("a", b"1", "key 1"), Started("b", b"2", "key 2")
    found = history(first, second, Answered("b", b"2", "done"))
    assert found.unknown == {"a": first}
    assert set(found.results) == {"b"}


def test_a_settlement_closes_the_reservation_of_its_own_attempt() -> None:
    first, second = Reserved("a", 0, 100, 0.5), Reserved("a", 1, 100, None)
    assert history(first, second, Settled("a", 0, 40, 0.2)).unsettled == [second]


def test_a_reservation_that_a_dead_process_left_stays_though_its_successor_settles_the_same_attempt() -> None:
    lost, again, paid = Reserved("a", 0, 100, 0.5), Reserved("a", 0, 120, 0.6), Settled("a", 0, 40, 0.2)
    found = history(lost, Resumed("0.1.0"), again, paid)
    assert found.unsettled == [lost]
    assert found.settled == [paid]


def test_a_reservation_that_a_dead_process_left_counts_once() -> None:
    lost = Reserved("a", 0, 100, 0.5)
    assert history(lost, Resumed("0.1.0"), Resumed("0.1.0")).unsettled == [lost]


def test_a_run_that_was_resumed_is_not_over() -> None:
    stopped = Ended("stopped", "the budget is used up")
    assert history(stopped).ended == stopped
    assert history(stopped, Resumed("0.1.0")).ended is None
    assert history(stopped, Resumed("0.1.0"), Ended("succeeded")).ended == Ended("succeeded")


def test_lines_are_found_by_their_numbers() -> None:
    assert history(Printed(1, "b"), Printed(0, "a")).printed == {1: "b", 0: "a"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("\ud800", "half of a surrogate pair"),
        (2**63, "no value of AIS"),
        (float("nan"), "no value of AIS"),
        (("a",), "no value of AIS"),
        (b"bytes", "no value of AIS"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(value: object, message: str) -> None:
    with pytest.raises(JournalError, match=message):
        encode(TimedRow(0.0, Answered("a", b"", value)))
    with pytest.raises(JournalError, match=message):
        encode(replace(HEADER, inputs=(value,)))


def test_a_value_that_grows_exponentially_when_it_is_written_out_is_refused_at_once() -> None:
    value: list[object] = []
    for _ in range(150):
        value = [value, value]
    with pytest.raises(JournalError, match="characters when written out"):
        encode(TimedRow(0.0, Answered("a", b"", value)))


def test_a_time_that_cannot_be_shown_is_damage() -> None:
    with pytest.raises(JournalError):
        decode_header(encode(replace(HEADER, started=1e300)))


def test_the_documentation_describes_the_format() -> None:
    page = (Path(__file__).parents[2] / "docs/journal.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `([a-z]+)` \| (.*?) \|", page, re.MULTILINE)
    described = {kind: len(fields.split(", ")) for kind, fields in table}
    assert described == {kind.__struct_config__.tag: len(kind.__struct_fields__) for kind in get_args(Row)}
    assert f"\n{SCHEMA}\n" in page
    assert f"`0x{APPLICATION_ID:08X}`" in page
