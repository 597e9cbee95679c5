"""Flows that call themselves, and what of their frames shows."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from tests.lanes.comparing import ran

SECOND = 1_000_000_000


@flow
def down(depth: int) -> str:
    return ask("bottom") if depth == 0 else down(depth - 1)


@flow
def spread(depth: int) -> list[str]:
    found: list[str] = []
    for _ in each([1]):
        found += [ask("bottom")] if depth == 0 else spread(depth - 1)
    return found


@flow
def endless(depth: int) -> None:
    for _ in each([1]):
        endless(depth + 1)


@pytest.mark.parametrize("function", [down, spread])
def test_a_flow_that_calls_itself_goes_nearly_as_deep_as_a_function(function: Flow[..., Any]) -> None:
    depth = int(0.85 * sys.getrecursionlimit())
    seen, _ = ran(lambda: function.lanes(depth), lambda: SECOND)
    assert (seen.raised, seen.asked) == ("", ["bottom"])


@pytest.mark.parametrize("function", [lambda: down.lanes(10**6), lambda: endless.lanes(0)])
def test_one_that_never_ends_raises_what_any_function_does(function: Any) -> None:
    seen, _ = ran(function, lambda: SECOND)
    assert seen.raised.startswith("RecursionError: maximum recursion depth exceeded")


class Secret:
    """A class around a method, whose private names are mangled."""

    def __init__(self) -> None:
        self.__rows = ["a", "b"]

    @flow
    def looking(self) -> list[list[str]]:
        found: list[list[str]] = []
        for row in each(self.__rows):
            __private = ask(row)
            found.append(list(locals()))
            found.append(sorted(vars()))
            found.append(sorted(dir()))
            found.append(dir())
            found.append([name for name in vars(self) if row])
        found.append(sorted(locals()))
        return found


def test_the_names_of_a_frame_are_those_of_the_user() -> None:
    seen, _ = ran(Secret().looking.lanes, lambda: SECOND)
    ours = [name for names in seen.value for name in names if "apxm" in name]  # type: ignore[attr-defined]
    assert not ours
    assert {"found", "row", "_Secret__private"} <= set(seen.value[0])  # type: ignore[index]
    assert seen.value[4] == ["_Secret__rows"]  # type: ignore[index]
