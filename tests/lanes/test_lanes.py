"""Flows in lanes, on virtual time: what overlaps, what waits, and what may not be."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from apxm.lanes.marks import pure
from apxm.runtime.trace import Status
from tests.lanes.comparing import Seen, ran

SECOND = 1_000_000_000


def seconds(function: Flow[..., Any], *arguments: Any) -> tuple[Seen, float]:
    """What anybody sees of a run in which each call takes a second, and how many it takes."""
    seen, trace = ran(lambda: function.lanes(*arguments), lambda: SECOND)
    return seen, trace.duration / SECOND


# --- what overlaps -----------------------------------------------------------------------------------------------


@flow
def chained(rows: list[int]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        first = ask(f"{row}")
        second = ask(f"{row} again", first)
        found.append(second)
    return found


def test_iterations_overlap_and_what_they_append_is_in_order() -> None:
    seen, took = seconds(chained, list(range(100)))
    alone, _ = ran(lambda: chained.function(list(range(100))), lambda: SECOND)
    assert (seen.value, took) == (alone.value, 2.0)


@flow
def straight(topic: str) -> tuple[str, str, str]:
    pros = ask(f"for {topic}")
    cons = ask(f"against {topic}")
    both = ask("weigh", pros, cons)
    return pros, cons, both


def test_calls_in_a_straight_line_overlap_where_none_needs_the_other() -> None:
    assert seconds(straight, "bees")[1] == 2.0


@flow
def comprehended(rows: list[str]) -> dict[str, str]:
    short = [ask(row) for row in each(rows) if row != "b"]
    return {row: ask(row) for row in each(short)}


def test_a_comprehension_overlaps() -> None:
    seen, took = seconds(comprehended, ["a", "b", "c"])
    assert (len(seen.asked), took) == (4, 2.0)


@flow
def nested(rows: list[str]) -> list[list[str]]:
    found: list[list[str]] = []
    for row in each(rows):
        inner: list[str] = []
        for k in each(range(3)):
            inner.append(ask(f"{row} {k}"))
        found.append([*inner, ask("judge", inner)])
    return found


def test_loops_in_loops_overlap() -> None:
    seen, took = seconds(nested, ["a", "b", "c", "d"])
    alone, _ = ran(lambda: nested.function(["a", "b", "c", "d"]), lambda: SECOND)
    assert (seen.value, took) == (alone.value, 2.0)


@flow
def slept(rows: list[int]) -> int:
    for row in each(rows):
        time.sleep(row)
        ask(f"{row}")
    return len(rows)


def test_who_sleeps_lets_others_go_on() -> None:
    assert seconds(slept, [3, 2, 1])[1] == 4.0


def test_an_answer_that_is_thrown_away_costs_its_slot_no_longer_than_its_turn() -> None:
    @flow
    def first_good(rows: list[int]) -> str | None:
        for row in each(rows, lookahead=2):
            answer = ask(f"{row}")
            if row == 4:
                return answer
        return None

    seen, took = seconds(first_good, list(range(10)))
    assert (len(seen.asked), took) == (7, 2.0)  # 0 1 2, then 3 4 5; 6 began when 4 did not say yet


# --- what waits ------------------------------------------------------------------------------------------------------


@flow
def printing(rows: list[int]) -> None:
    for row in each(rows):
        print("head", row)
        print(row, ask(f"{row}"))


def test_what_iterations_print_is_in_the_order_of_the_program() -> None:
    seen, took = seconds(printing, [1, 2, 3])
    alone, _ = ran(lambda: printing.function([1, 2, 3]), lambda: SECOND)
    assert (seen.output, took) == (alone.output, 1.0)


def test_an_iteration_that_may_leave_the_loop_lets_none_run_ahead() -> None:
    @flow
    def searched(rows: list[int]) -> int:
        for row in each(rows):
            if ask(f"{row}") and row == 2:
                break
        else:
            return -1
        return row

    seen, took = seconds(searched, list(range(10)))
    assert (seen.value, seen.asked, took) == (2, ["0", "1", "2"], 3.0)


total = 0


def count(text: str) -> None:
    global total  # noqa: PLW0603  # that is what it is about
    total += len(text)


@flow
def counting(rows: list[int]) -> int:
    global total  # noqa: PLW0603  # that is what it is about
    total = 0
    for row in each(rows):
        count(ask(f"{row}"))
    return total


def test_a_function_that_changes_a_global_waits_for_its_turn() -> None:
    seen, took = seconds(counting, [1, 2, 3])
    alone, _ = ran(lambda: counting.function([1, 2, 3]), lambda: SECOND)
    assert (seen.value, took) == (alone.value, 1.0)


# --- how it ends -----------------------------------------------------------------------------------------------------


@flow
def failing(rows: list[int]) -> None:
    for row in each(rows):
        answer = ask(f"{row}")
        if row >= 2:
            raise ValueError(f"{row}: {answer}")


def test_the_first_failure_of_the_program_is_the_one_that_is_raised() -> None:
    times = iter([SECOND, SECOND, 9 * SECOND, SECOND, SECOND])
    seen, trace = ran(lambda: failing.lanes(list(range(5))), lambda: next(times))
    assert seen.raised.startswith("ValueError: 2:")
    assert (trace.status, trace.duration) == (Status.FAILED, 9 * SECOND)


def test_a_traceback_has_the_lines_of_the_user() -> None:
    raised: list[BaseException] = []

    def caught() -> None:
        try:
            failing.lanes([2])
        except ValueError as error:
            raised.append(error)

    ran(caught, lambda: SECOND)
    lines = [frame.line for frame in traceback.extract_tb(raised[0].__traceback__) if frame.filename == __file__]
    assert lines[1:] == ["for row in each(rows):", 'raise ValueError(f"{row}: {answer}")']


CLOSED: list[int] = []


@pure
def close(row: int) -> None:
    """Something that only the world outside sees."""
    CLOSED.append(row)


class Open:
    def __init__(self, row: int) -> None:
        self.row = row

    def __enter__(self) -> Open:
        return self

    def __exit__(self, *_: object) -> None:
        close(self.row)


def test_what_is_open_in_a_lane_is_closed_when_the_loop_is_left() -> None:
    @flow
    def left(rows: list[int], kept: list[int]) -> None:
        for row in each(rows):
            with Open(row):
                try:
                    ask(f"{row}")
                    if row == 0:
                        raise KeyError
                    ask("never")
                finally:
                    kept.append(row)

    times = iter([SECOND, 5 * SECOND, 5 * SECOND])
    kept: list[int] = []
    CLOSED.clear()
    seen, trace = ran(lambda: left.lanes([0, 1, 2], kept), lambda: next(times))
    assert (seen.raised, trace.duration) == ("KeyError: ", SECOND)
    assert sorted(CLOSED) == [0, 1, 2]
    assert kept == [0]  # line by line the others would not have begun


# --- what is recorded ------------------------------------------------------------------------------------------------


def paths(function: Flow[..., Any], *arguments: Any) -> list[str]:
    _, trace = ran(lambda: function.lanes(*arguments), lambda: SECOND)
    return [name.path for name in trace.program.names.plans[0].nodes if name.path]


def helped(text: str) -> str:
    return ask(text)


@flow
def named(rows: list[str]) -> None:
    for row in each(rows):
        for _ in range(2):
            ask(row)
        for other in each(["x"]):
            ask(other)
            helped(other)


def test_a_path_says_where_in_which_iteration_and_the_how_manieth() -> None:
    line = named.function.__code__.co_firstlineno + 1
    assert sorted(paths(named, ["a", "b"])) == sorted(
        path
        for k in (0, 1)
        for path in (
            f"named:{line + 3}[{k}]",
            f"named:{line + 3}[{k}]#2",
            f"named:{line + 5}[{k}][0]",
            f"named:{line + 4}[{k}][0]/helped:{helped.__code__.co_firstlineno + 1}",
        )
    )


@flow
def in_rounds() -> None:
    for _ in range(2):
        for row in each(["a", "b"]):
            ask(row)
            for other in each(["x"]):
                ask(other)
        named(["c"])


def test_a_loop_that_runs_again_has_paths_of_its_own() -> None:
    found = paths(in_rounds)
    line = in_rounds.function.__code__.co_firstlineno + 4
    assert len(found) == len(set(found)) == 2 * (4 + 4)
    assert {f"in_rounds:{line}[1]", f"in_rounds:{line}#2[1]", f"in_rounds:{line + 2}#2[1][0]"} <= set(found)


# --- what has no meaning in lanes ------------------------------------------------------------------------------------


def carried_name(rows: list[str]) -> str:
    last = ""
    for row in each(rows):
        last = ask(row + last)
    return last


def carried_count(rows: list[str]) -> None:
    number = 0
    for row in each(rows):
        ask(f"{number} {row}")
        number += 1  # noqa: SIM113


def carried_by_walrus(rows: list[str]) -> None:
    last = ""
    for row in each(rows):
        if last := ask(row + last):
            print(row)


def deleted(rows: list[str]) -> None:
    last = ""
    for row in each(rows):
        ask(row)
        del last


def yielding(rows: list[str]) -> Any:
    for row in each(rows):
        yield ask(row)


@pytest.mark.parametrize(
    ("function", "line", "message"),
    [
        (carried_name, 3, "each iteration needs what the one before it left in `last`"),
        (carried_count, 3, "each iteration needs what the one before it left in `number`"),
        (carried_by_walrus, 3, "each iteration needs what the one before it left in `last`"),
        (deleted, 4, "an iteration of an `each` deletes `last`, which is not its own"),
        (yielding, 2, "an iteration of an `each` yields for the function around it"),
    ],
)
def test_what_no_lane_can_do_is_refused_when_the_flow_is_made(
    function: Callable[..., Any], line: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        flow(function)
    assert refused.value.where == f"{__file__}:{function.__code__.co_firstlineno + line}"


@flow
def remembering(rows: list[str]) -> dict[str, str]:
    known: dict[str, str] = {}
    for row in each(rows):
        if row not in known:
            known[row] = ask(row)
    return known


def test_a_cache_that_iterations_share_makes_them_run_one_after_the_other() -> None:
    seen, took = seconds(remembering, ["a", "b", "a"])
    assert (seen.asked, took) == (["a", "b"], 2.0)


@flow
def drawn(rows: list[dict[str, Any]]) -> str:
    for row in each(rows):
        row["answer"] = ask(json.dumps(row))
    return json.dumps(rows)


def test_an_item_may_be_changed() -> None:
    seen, took = seconds(drawn, [{"q": 1}, {"q": 2}])
    alone, _ = ran(lambda: drawn.function([{"q": 1}, {"q": 2}]), lambda: SECOND)
    assert (seen.value, took) == (alone.value, 1.0)


def test_outside_of_a_flow_each_is_plain_iteration() -> None:
    assert list(each([1, 2])) == [1, 2]


KEPT: list[str] = []


def keep(text: str) -> str:
    KEPT.append(text)
    return text


def through(function: Callable[[str], str]) -> Flow[..., list[str]]:
    @flow
    def made(rows: list[str]) -> list[str]:
        found: list[str] = []
        for row in each(rows):
            answer = ask(row)
            found.append(function(answer))
        return found

    return made


def test_what_a_name_means_is_that_of_its_own_closure() -> None:
    rows = ["a", "b", "c"]
    times = iter([3 * SECOND, 2 * SECOND, SECOND])
    ran(lambda: through(str).lanes(rows), lambda: SECOND)
    KEPT.clear()
    seen, _ = ran(lambda: through(keep).lanes(rows), lambda: next(times))
    assert seen.value == KEPT
