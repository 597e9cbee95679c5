"""Loops over functions of which decorators have made others, with counts, lists and caches of their own."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import functools
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared

ROWS = ["a", "b", "c", "d"]


def counted(function):
    count = 0

    def counting(text):
        nonlocal count
        count += 1
        return function(text) + f"#{count}"

    return counting


def counted_behind(function):
    count = 0

    @functools.wraps(function)
    def counting(*given):
        nonlocal count
        found = function(*given)
        count += 1
        return f"{found}#{count}"

    counting.count = lambda: count
    return counting


def remembering(function):
    seen = {}
    last = None

    @functools.wraps(function)
    def remembered(text):
        nonlocal last
        if text not in seen:
            seen[text] = function(text) + str(len(seen))
        last = seen[text]
        return f"{last} of {len(seen)}"

    return remembered


def told(log):
    def telling(function):
        def tells(text):
            log.append(text)
            found = function(text)
            log.append(found)
            return found + str(len(log))

        return tells

    return telling


class Counted:
    def __init__(self, function):
        self.function = function
        self.n = 0

    def __call__(self, text):
        self.n += 1
        found = self.function(text)
        return f"{found}#{self.n}"


def made(decorate):
    """Flows over a function under a decorator, afresh each time: decorators keep what they have seen."""

    @decorate
    def call(text):
        return ask(text)[-2:]

    @flow
    def collected(rows):
        return [call(row) for row in each(rows)]

    @flow
    def stated(rows):
        found = []
        for row in each(rows):
            found.append(call(row))
            found.append(call(row))
        return found

    @flow
    def between(rows):
        found = []
        for row in each(rows):
            one = call(row)
            two = ask(f"then {row}")
            found.append((one, call(two)))
        return found

    return collected, stated, between


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    "decorate", [counted, counted_behind, remembering, lambda f: told([])(f), Counted], ids=lambda each: each.__name__
)
def test_what_a_decorator_keeps_is_kept_in_order(decorate: Any, which: int, seed: int) -> None:
    compared(lambda: (made(decorate)[which], (ROWS,)), seed)


def test_what_it_keeps_behind_its_call_lets_others_overlap() -> None:
    line_by_line, lanes = compared(lambda: (made(counted_behind)[0], (ROWS,)), 0)
    assert lanes.ended - lanes.started < 0.6 * (line_by_line.ended - line_by_line.started)
