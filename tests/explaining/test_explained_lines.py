"""What `explain` says of a line is what lanes do there: nothing waits or is put off of which it is silent."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from apxm.effects.users import is_users
from apxm.errors import UsageError
from apxm.explaining.explanation import Explanation, Given
from apxm.explaining.files import explained_file, explained_flow
from apxm.flows.flow import Flow, flow, marked
from apxm.flows.twins import TWINS
from apxm.lanes.lane import Lane
from tests.lanes import test_lanes
from tests.lanes.comparing import ran
from tests.lanes.generating import Drawn
from tests.rewriting import test_carried, test_defaults, test_special, test_special_objects, test_things
from tests.rewriting.test_same import loaded

Line = tuple[str, int]
SECOND = 1_000_000_000


class Seen:
    """The lines at which lanes did something, each behind those that called its function."""

    def __init__(self) -> None:
        self.waited: set[tuple[Line, ...]] = set()
        self.put_off: set[tuple[Line, ...]] = set()


def _users_lines() -> tuple[Line, ...]:
    frame: types.FrameType | None = sys._getframe(2)
    found: list[Line] = []
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            found.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return tuple(reversed(found))


@contextmanager
def watched() -> Iterator[Seen]:
    seen = Seen()
    take_turn, later = Lane.take_turn, Lane.later

    def taking(lane: Lane, owner: Lane | None = None) -> None:
        if any(each.loop and each.loop.first is not each for each in lane._within(owner)):  # else it has its turn
            seen.waited.update(filter(None, [_users_lines()]))  # a tool waits before its first line
        take_turn(lane, owner)

    def putting_off(lane: Lane, owner: Lane | None, function: Callable[..., object], *arguments: Any) -> None:
        if lane.loop is not None:  # else it is done at once
            seen.put_off.add(_users_lines())
        later(lane, owner, function, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lane, "take_turn", taking)
        patch.setattr(Lane, "later", putting_off)
        yield seen


def told(found: Explanation, does: str, *, unseen: bool = False) -> set[Line]:
    """The lines of which it says that; with `unseen` those of which it does not see what they do."""
    lines: set[Line] = set()
    for function in found.functions:
        for loop in function.loops:
            for line in loop.lines:
                if line.does == does and not (unseen and line.seen):
                    lines.add((line.at.file, line.at.line))
                    if line.inside is not None:
                        lines.add((line.inside.file, line.inside.line))
    return lines


def holds(function: Flow[..., Any], arguments: tuple[Any, ...]) -> Explanation:
    """What is said of a flow, once it was seen that lanes do nothing else there."""
    found = explained_flow(function.function, TWINS, Given())
    waits, later, unseen = told(found, "waits"), told(found, "later"), told(found, "waits", unseen=True)
    with watched() as seen:
        ran(lambda: function.lanes(*arguments), lambda: SECOND)
    assert [lines for lines in seen.waited if lines[-1] not in waits and unseen.isdisjoint(lines)] == []
    assert [lines for lines in seen.put_off if lines[-1] not in waits | later and unseen.isdisjoint(lines)] == []
    return found


@pytest.mark.parametrize("loop", test_carried.LOOPS, ids=lambda loop: loop.__name__)
def test_loops_that_carry_something(loop: Any) -> None:
    if loop not in test_carried.REFUSED:
        holds(flow(loop), (["x", "y", "z", "x"],))


@pytest.mark.parametrize(
    "loop", [*test_special.LOOPS, *test_special_objects.LOOPS, *test_defaults.LOOPS], ids=lambda loop: loop.__name__
)
def test_loops_over_objects_with_methods_that_nobody_names(loop: Any) -> None:
    holds(flow(loop), (["xxxx", "y", "zz", "xxxx"],))


FLOWS = [
    (test_lanes.chained, ([1, 2, 3],)),
    (test_lanes.comprehended, (["a", "b", "c"],)),
    (test_lanes.nested, (["a", "b"],)),
    (test_lanes.printing, ([1, 2],)),
    (test_lanes.counting, ([1, 2, 3],)),
    (test_lanes.remembering, (["a", "b", "a"],)),
    (test_lanes.drawn, ([{"q": 1}, {"q": 2}],)),
    (test_lanes.named, (["a", "b"],)),
    (flow(test_things.indented), (["a", "b", "c"],)),
    (flow(test_things.managed_alone), (["a", "b", "c"],)),
]


@pytest.mark.parametrize(("function", "arguments"), FLOWS, ids=lambda each: getattr(each, "__name__", ""))
def test_flows(function: Flow[..., Any], arguments: tuple[Any, ...]) -> None:
    holds(function, arguments)


def drawn(seed: int) -> None:
    source, name = Drawn(seed).module(), f"drawn_{seed}"
    try:
        module = loaded(source, name)
        _ = module["main"].lanes
    except UsageError:
        found = explained_file(f"/drawn/{name}.py", source, TWINS, marked, Given())
        assert any(loop.is_error for each in found.functions for loop in each.loops)
        return
    holds(module["main"], (list(range(6)),))


DIFFERED = (1247, 1559, 2144, 2706, 2779)
"""Seeds of whose flows it said something else once: tables of functions, of which one is called or handed on; loops
that were refused before all was there that they may call."""


@pytest.mark.parametrize("seed", [*range(100), *DIFFERED])
def test_flows_drawn_at_random(seed: int) -> None:
    drawn(seed)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1000, 3000, 500))
def test_many_flows(first: int) -> None:
    for seed in range(first, first + 500):
        drawn(seed)
