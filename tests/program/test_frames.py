"""Sums over frames that open any number of times, beside a machine that opens one after the other."""

from __future__ import annotations

import json
from math import inf
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.errors import ArtifactError
from apxm.program.expressions import Literal
from apxm.program.frames import EXPECTED, HIGH, LOW, MOST_OPEN_TURNS, SCENARIOS, SOURCE, FrameGraph
from apxm.program.openers import Opening, Subflow, Switch
from apxm.program.statistics import flow_statistics
from apxm.program.verify import FRAME_WORK, unfolded_work
from apxm.reports.inspection import as_text, inspect
from apxm.reports.structs import as_json
from tests.plans import ask, plan, program
from tests.repeated import repeat

Graph = list[list[Opening]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to five vertices, each of which opens later ones."""
    size = draw(st.integers(1, 5))
    openings: Graph = []
    for vertex in range(size):
        opening = st.builds(
            lambda plans, counts: Opening(tuple(plans), min(counts), max(counts)),
            st.lists(st.integers(vertex + 1, size - 1), min_size=1, max_size=3),
            st.tuples(st.integers(0, 3), st.integers(0, 3)),
        )
        openings.append(draw(st.lists(opening, max_size=2)) if vertex + 1 < size else [])
    return openings


def runs(openings: Graph, own: list[int], vertex: int) -> set[int]:
    """What each run of a vertex comes to: for all numbers of frames, and each frame any alternative."""
    found = {own[vertex]}
    for least, most, frames in [(o.least, o.most, [runs(openings, own, v) for v in o.plans]) for o in openings[vertex]]:
        assert most is not None
        one = set[int]().union(*frames)
        sums, several = {0}, {0} if not least else set[int]()
        for count in range(1, most + 1):
            sums = {before + amount for before in sums for amount in one}
            several |= sums if count >= least else set()
        found = {before + amount for before in found for amount in several}
    return found


def mean(openings: Graph, own: list[int], vertex: int) -> float:
    """Of all runs of a vertex, each choice as likely as the others."""
    total = float(own[vertex])
    for opening in openings[vertex]:
        assert opening.most is not None
        frame = fmean(mean(openings, own, opened) for opened in opening.plans)
        total += fmean(frame * count for count in range(opening.least, opening.most + 1))
    return total


@given(openings=graphs(), own=st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_totals_are_the_bounds_and_the_mean_of_all_runs(openings: Graph, own: list[int]) -> None:
    graph = FrameGraph(openings)
    low, expected, high = (graph.total(own[: len(openings)], scenario) for scenario in SCENARIOS)
    for vertex in range(len(openings)):
        found = runs(openings, own, vertex)
        assert (low[vertex], high[vertex]) == (min(found), max(found))
        assert expected[vertex] == pytest.approx(mean(openings, own, vertex))


def test_what_is_opened_comes_first_and_a_vertex_that_opens_itself_is_refused() -> None:
    graph = FrameGraph([[Opening((1, 2))], [Opening((2,))], [], [Opening((0,), 0, None)]])
    assert graph.order == [2, 1, 0, 3]
    with pytest.raises(ArtifactError, match="plan 1 opens itself"):
        FrameGraph([[Opening((1,))], [Opening((2,), 0, 5)], [Opening((1,))]])


def test_what_nothing_limits_has_no_most_unless_it_comes_to_nothing() -> None:
    graph = FrameGraph([[Opening((1,), 2, None)], []])
    assert [graph.total([1, 3], scenario)[0] for scenario in (LOW, EXPECTED, HIGH)] == [7, 7, inf]
    assert graph.total([1, 3], SOURCE) == [7, 3]
    assert graph.total([1, 0], HIGH) == [1, 0]


REPEATED = program(
    plan(ask("a"), repeat(1, most=4), Switch(selector=Literal("x"), labels=("x", "y"), arms=(2, 3))),
    plan(ask("b"), repeat(2, least=1, most=2)),
    plan(ask("c")),
    plan(),
)  # fmt: skip


def test_statistics_count_a_frame_once_and_say_how_many_operations_a_run_may_have() -> None:
    found = flow_statistics(REPEATED)["Test.main"]
    assert (found.total_nodes, found.critical_path_length, found.max_width) == (4, 1, 4)
    assert found.operations_in_run == (1, 1 + 4 * (1 + 2) + 1)
    unlimited = program(plan(repeat(1)), plan(ask("a")))
    assert flow_statistics(unlimited)["Test.main"].operations_in_run == (0, None)


def test_an_inspection_says_so_and_says_nothing_where_every_frame_opens_once() -> None:
    assert "4 nodes, 1 to 14 in a run" in as_text(inspect(REPEATED))
    assert json.loads(as_json(inspect(REPEATED)))["flows"][0]["operations_in_run"] == [1, 14]
    assert "1 node, at least 0 in a run" in as_text(inspect(program(plan(repeat(1)), plan(ask("a")))))
    once = program(plan(Subflow(plan=1)), plan(ask("a")))
    assert "operations_in_run" not in as_json(inspect(once))


@pytest.mark.parametrize(
    ("least", "most", "counted"), [(4, 4, 4), (0, 4, 1), (0, None, 1), (2, 9, 2), (10**6, 10**6, MOST_OPEN_TURNS)]
)
def test_work_is_what_the_source_alone_has_a_run_unfold_into_at_once(least: int, most: int, counted: int) -> None:
    assert unfolded_work(program(plan(repeat(1, least=least, most=most)), plan(ask("a")))) == [
        1 + FRAME_WORK + counted * (1 + FRAME_WORK),
        1 + FRAME_WORK,
    ]
