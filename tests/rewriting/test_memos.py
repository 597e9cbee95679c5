"""Answers that are kept by hand: lanes ask no more often than the sequential run does."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from apxm.explaining.explanation import Given
from apxm.explaining.files import explained_flow
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.flows.twins import TWINS
from tests.lanes.comparing import compared

ROWS = list("abcabcaabbcc")


def looked_up(rows):
    cache, out = {}, []
    for row in each(rows):
        if row in cache:
            answer = cache[row]
        else:
            answer = ask(row)
            cache[row] = answer
        out.append(answer)
    return out


def memoized(function):
    memo = {}

    @functools.wraps(function)
    def wrapper(row):
        if row not in memo:
            memo[row] = function(row)
        return memo[row]

    wrapper.memo = memo
    return wrapper


@memoized
def labelled(row):
    return ask(row)


def in_a_decorator(rows):
    labelled.memo.clear()
    out = []
    for row in each(rows):
        out.append(labelled(row))
    return out


def in_a_decorator_of_a_comprehension(rows):
    labelled.memo.clear()
    return [labelled(row) for row in each(rows)]


def called_back(rows):
    labelled.memo.clear()
    return [sorted([row, "z"], key=labelled) for row in each(rows)]


def with_default(row, memo={}):
    if row not in memo:
        memo[row] = ask(row)
    return memo[row]


def in_a_default(rows):
    with_default.__defaults__[0].clear()
    return [with_default(row) for row in each(rows)]


def in_a_default_of_an_inner_function(rows):
    def inner(row, *, memo={}):
        if row not in memo:
            memo[row] = ask(row)
        return memo[row]

    out = []
    for row in each(rows):
        out.append(inner(row))
    return out


def by_another_name_in_a_default(rows):
    cache = {}

    def inner(row, memo=cache):
        if row not in memo:
            memo[row] = ask(row)
        return memo[row]

    out = []
    for row in each(rows):
        out.append(inner(row))
    return out


def counter():
    total = 0

    def count():
        nonlocal total
        total += 1
        return total

    return count


count = counter()


def counted_in_a_closure(rows):
    first = count()
    out = []
    for row in each(rows):
        if len(ask(row)) > 3:
            out.append(ask(f"{row} {count() - first}"))
    return out


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "function",
    [
        looked_up, in_a_decorator, in_a_decorator_of_a_comprehension, called_back, in_a_default,
        in_a_default_of_an_inner_function, by_another_name_in_a_default, counted_in_a_closure,
    ],
)  # fmt: skip
def test_what_is_kept_by_hand_is_found_again(function: Callable[..., Any], seed: int) -> None:
    compared(lambda: (flow(function), (ROWS,)), seed)


@pytest.mark.parametrize("function", [looked_up, in_a_decorator, in_a_default])
def test_explain_says_which_line_waits_for_it(function: Callable[..., Any]) -> None:
    (found,) = (each for each in explained_flow(function, TWINS, Given()).functions if each.is_entry)
    (loop,) = found.loops
    assert loop.verdict == "carried" and loop.is_held_back
    assert any(line.does == "waits" and ("memo" in line.why or "cache" in line.why) for line in loop.lines)


def test_answers_that_are_only_put_by_overlap() -> None:
    def main(rows):
        results = {}
        for row in each(rows):
            results[row] = ask(row)
        return results

    sequential, lanes = compared(lambda: (flow(main), (ROWS,)), 1)
    assert lanes.duration < sequential.duration / 4
