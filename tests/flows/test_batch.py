"""One flow for many inputs, as one run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from apxm.errors import JournalError, UsageError
from apxm.flows.asking import ask
from apxm.flows.batch import BatchFailed, each_input
from apxm.flows.flow import Flow, each, flow
from tests.lanes.comparing import ran
from tests.lanes.talking import SECOND

BAD: set[int] = set()


@flow
def squared(number: int, by: int = 1, *, style: str = "") -> str:
    answer = ask(f"{number} {by} {style}")
    print("got", number)
    if number in BAD:
        raise ValueError(f"{number} is bad")
    return ask("again", answer)


@pytest.fixture
def program(tmp_path: Path) -> Flow[..., str]:
    BAD.clear()
    return squared.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)


def test_values_are_in_the_order_of_the_inputs(program: Flow[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    result = program.batch(range(5))
    assert result.value == [program(number) for number in range(5)]
    assert capsys.readouterr().out.splitlines()[:5] == [f"got {number}" for number in range(5)]
    line = squared.function.__code__.co_firstlineno + 2
    assert result.trace.path_of(0, 3) == f"batch[3]/squared:{line}"


def test_all_inputs_overlap() -> None:
    def main() -> Any:
        return each_input(squared.lanes, [range(100)], {}, lambda error: error, 1000, return_exceptions=False)

    assert ran(main, lambda: SECOND)[1].duration == 2 * SECOND


def test_several_lists_and_what_all_share(program: Flow[..., str]) -> None:
    result = program.batch([1, 2], [3, 4], style="x")
    assert result.value == [program(1, 3, style="x"), program(2, 4, style="x")]


def test_what_fails_is_raised_at_the_end_with_all_values(program: Flow[..., str]) -> None:
    BAD.update({1, 3})
    with pytest.raises(BatchFailed, match="2 of 5 inputs failed") as failed:
        program.batch(range(5))
    values = failed.value.values
    assert [type(value) for value in values] == [str, ValueError, str, ValueError, str]
    assert list(failed.value.exceptions) == [values[1], values[3]]
    assert values[3].__notes__ == ["input 3 of the batch"]
    (note,) = failed.value.__notes__
    run = note.split()[1].rstrip(":")
    assert note == f"run {run}: what was answered is kept; squared.batch(…, resume={run!r}) goes on"
    BAD.clear()
    again = program.batch(range(5), resume=run)
    assert (len(again.value or ()), again.trace.reused, again.metrics.llm.total_requests) == (5, 8, 2)


def test_exceptions_can_stand_among_the_values(program: Flow[..., str]) -> None:
    BAD.add(1)
    result = program.batch(range(3), return_exceptions=True)
    assert [type(value) for value in result.value or ()] == [str, ValueError, str]


def test_a_generator_is_drawn_from_as_lanes_become_free(program: Flow[..., str]) -> None:
    assert len(program.batch(number for number in range(10)).value or ()) == 10


def test_no_inputs_give_nothing(program: Flow[..., str]) -> None:
    assert program.batch([]).value == []


def test_inside_an_event_loop(program: Flow[..., str]) -> None:
    assert len(asyncio.run(program.batch_async([1, 2])).value or ()) == 2


def test_another_run_than_a_batch_does_not_go_on_as_one(program: Flow[..., str]) -> None:
    run = program.run(1).run_id
    with pytest.raises(JournalError, match=r"is one of the flow squared, not of squared\.batch"):
        program.batch([1], resume=run)


def test_a_batch_that_takes_another_way_ends(program: Flow[..., str]) -> None:
    run = program.batch([1, 2]).run_id
    with pytest.raises(JournalError, match=r"took another way at batch\[0\]/squared"):
        program.batch([3, 4], resume=run)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((), "squared.batch is given no inputs"),
        ((3,), "squared.batch takes lists of inputs, not 3"),
        (("abc",), "squared.batch takes lists of inputs, not a str"),
        (({"a": 1},), "squared.batch takes lists of inputs, not a dict"),
        (([1, 2], [1]), "squared.batch is given lists of different lengths: 1, 2"),
        (((n for n in range(2)), (n for n in range(1))), "the inputs of the batch are of different lengths"),
    ],
)
def test_what_is_no_batch_is_refused(program: Flow[..., str], inputs: Any, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        program.batch(*inputs)
    assert said in str(refused.value)


@pytest.mark.usefixtures("program")
def test_in_another_flow_it_is_part_of_that_ones_run() -> None:
    @flow
    def outer(rows: list[int]) -> list[Any]:
        return [squared.batch([row, row + 1]).value for row in each(rows)]

    result = outer.using(backend="simulated", latency="constant:1").run([1, 5])
    assert [len(values) for values in result.value or ()] == [2, 2]
    assert result.metrics.llm.total_requests == 8
