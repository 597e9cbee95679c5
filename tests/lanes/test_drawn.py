"""What iterators do to the items that they gave before: iterations have them as line by line."""

from __future__ import annotations

import itertools
import operator
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from tests.lanes.comparing import Seen, ran

SECOND = 1_000_000_000
Source = Callable[[], Iterator[Any]]


def both(function: Flow[..., Any], *arguments: Any) -> tuple[Seen, Seen, float]:
    """What anybody sees line by line and in lanes, and how many seconds lanes take, at one a call."""
    alone, _ = ran(lambda: function.function(*arguments), lambda: SECOND)
    seen, trace = ran(lambda: function.lanes(*arguments), lambda: SECOND)
    return alone, seen, trace.duration / SECOND


# --- groups of `itertools.groupby` -------------------------------------------------------------------------------


@flow
def grouped(rows: list[tuple[str, int]]) -> list[Any]:
    found: list[Any] = []
    for key, group in each(itertools.groupby(rows, operator.itemgetter(0))):
        answer = ask(key)
        found.append((answer, list(group)))
    return found


@flow
def grouped_in_a_comprehension(rows: list[tuple[str, int]]) -> list[Any]:
    groups = itertools.groupby(rows, operator.itemgetter(0))
    return [(number, ask(key, *(row[1] for row in group))) for number, (key, group) in enumerate(each(groups))]


@pytest.mark.parametrize("function", [grouped, grouped_in_a_comprehension])
def test_groups_are_whole_and_overlap(function: Flow[..., Any]) -> None:
    alone, seen, took = both(function, [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("c", 5)])
    assert (seen.value, seen.asked, took) == (alone.value, alone.asked, 1.0)


# --- items that the iterator changes -----------------------------------------------------------------------------


class Row:
    text = ""


def cleared_and_filled() -> Iterator[list[int]]:
    row: list[int] = []
    for number in range(4):
        row.clear()
        row.append(number)
        yield row


def cleared_afterwards() -> Iterator[dict[str, int]]:
    for number in range(4):
        row = {"number": number}
        yield row
        row.clear()


def only_one_cleared_afterwards() -> Iterator[list[int]]:
    row = [1]
    yield row
    row.clear()


def one_object() -> Iterator[tuple[int, Row]]:
    row = Row()
    for number in range(4):
        row.text = str(number)
        yield number, row


def held_by_new_ones() -> Iterator[dict[str, list[int]]]:
    row: list[int] = []
    for number in range(4):
        row[:] = [number]
        yield {"row": row}


def two_in_turn() -> Iterator[list[int]]:
    rows: list[list[int]] = [[], []]
    for number in range(5):
        rows[number % 2][:] = [number]
        yield rows[number % 2]


def parts_of_a_buffer() -> Iterator[memoryview]:
    buffer = bytearray(2)
    for number in range(4):
        buffer[:] = bytes((number, number))
        yield memoryview(buffer)[1:]


def one_array() -> Iterator[array[float]]:
    row = array("d", [0, 0])
    for number in range(4):
        row[1] = number
        yield row


def chunks_of_one_iterator() -> Iterator[Iterator[int]]:
    numbers = iter(range(5))
    for first in numbers:
        yield itertools.chain([first], itertools.islice(numbers, 1))


def text_of(item: Any) -> str:
    match item:
        case Row():
            return item.text
        case tuple():
            return text_of(item[1])  # pyright: ignore[reportUnknownArgumentType] - whatever it has
        case dict():
            return f"{item}"
        case _:
            return f"{list(item)}"


@flow
def written(source: Source) -> list[str]:
    found: list[str] = []
    for item in each(source()):
        answer = ask("before")
        found.append(ask(f"{text_of(item)}", answer))
    return found


SOURCES: list[Source] = [
    cleared_and_filled, cleared_afterwards, only_one_cleared_afterwards, one_object, held_by_new_ones, two_in_turn,
    parts_of_a_buffer, one_array, chunks_of_one_iterator,
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_an_item_stays_what_it_is_while_its_iteration_has_it(source: Source) -> None:
    alone, seen, _ = both(written, source)
    assert (seen.value, sorted(seen.asked)) == (alone.value, sorted(alone.asked))


def test_why_a_loop_runs_in_sequence_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for source in (chunks_of_one_iterator, cleared_and_filled):
        written.using(backend="simulated", latency="constant:1").run(source)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "written:138 runs one iteration after the other, as what it goes through gives iterators" in told[0]
    assert "changes an item once the next one is drawn" in told[1]


def test_items_that_nobody_changes_overlap() -> None:
    def rows() -> Iterator[dict[str, list[int]]]:
        for number in range(10):
            yield {"row": [number]}

    alone, seen, took = both(written, rows)
    assert (seen.value, took) == (alone.value, 2.0)


def test_iterators_in_a_list_share_nothing_with_it() -> None:
    @flow
    def summed(rows: list[Iterator[int]]) -> list[tuple[str, int]]:
        return [(ask("sum"), sum(row)) for row in each(rows)]

    seen, trace = ran(lambda: summed.lanes([iter([1, 2]), iter([3])]), lambda: SECOND)
    assert ([number for _, number in seen.value], trace.duration) == ([3, 3], SECOND)  # type: ignore[union-attr]


def test_what_an_iteration_that_leaves_the_loop_had_stays_as_it_was() -> None:
    rows = [0]

    def changing() -> Iterator[list[int]]:
        for _ in range(3):
            rows[0] += 1
            yield rows

    @flow
    def left() -> int:
        for row in each(changing(), lookahead=2):
            if ask(f"{row}"):
                return row[0]
        return 0

    seen, _ = ran(left.lanes, lambda: SECOND)
    assert (seen.value, rows) == (1, [1])


def test_what_the_items_raise_comes_behind_the_iterations_before() -> None:
    def rows() -> Iterator[int]:
        yield 1
        yield 2
        raise UsageError("no third one")

    @flow
    def printing() -> None:
        for row in each(rows()):
            print(row, ask(f"{row}"))

    alone, seen, took = both(printing)
    assert (seen.output, seen.raised, took) == (alone.output, alone.raised, 1.0)
