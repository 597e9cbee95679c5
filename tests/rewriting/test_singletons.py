"""Classes that say themselves which object their calls give: no iteration gets one that is not ready."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from tests.lanes.comparing import compared, ran

SECOND = 1_000_000_000
ROWS = ["a", "b", "c"]


class Single:
    one: Any = None

    def __new__(cls) -> Any:
        if cls.one is None:
            cls.one = super().__new__(cls)
            cls.one.hello = ask("hello")
        return cls.one


class Once(type):
    one: Any = None

    def __call__(cls, *arguments: Any) -> Any:
        if cls.one is None:
            cls.one = super().__call__(*arguments)
            cls.one.hello = ask("hello")
        return cls.one


class Metered(metaclass=Once):
    hello = ""


@flow
def collected(rows: list[str]) -> list[str]:
    return [ask(row, Single().hello) for row in each(rows)]


@flow
def stated(rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        found.append(ask(row, Single().hello))
    return found


def greeted(row: str) -> str:
    return ask(row, Single().hello)


@flow
def called(rows: list[str]) -> list[str]:
    return [greeted(row) for row in each(rows)]


@flow
def by_a_metaclass(rows: list[str]) -> list[str]:
    return [ask(row, Metered().hello) for row in each(rows)]


@pytest.mark.parametrize("function", [collected, stated, called, by_a_metaclass])
def test_a_singleton_is_made_by_one_iteration(function: Flow[..., Any]) -> None:
    def made() -> tuple[Flow[..., Any], tuple[Any, ...]]:
        Single.one = Metered.one = None
        return function, (ROWS,)

    compared(made, 1)


class Pair(NamedTuple):
    row: str
    answer: str


def test_a_named_tuple_waits_for_nobody() -> None:
    @flow
    def paired(rows: list[str]) -> list[str]:
        return [ask(Pair(row, ask(row)).answer) for row in each(rows)]

    _, trace = ran(lambda: paired.lanes(ROWS), lambda: SECOND)
    assert trace.duration == 2 * SECOND
