"""Names that an iteration binds on each way to where it reads them, or not on each."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from tests.lanes.comparing import compared

ROWS = ["a", "bb", "c", "dd", "e", "f", "g"]


@flow
def matched(rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        match row:
            case "a":
                kind = "the first"
            case str(text) if len(text) > 1:
                kind = "a long one"
            case _:
                kind = "any"
        answer = ask(row, kind)
        found.append(f"{kind}: {answer}")
    return found


def test_a_pattern_that_takes_anything_is_the_last_way() -> None:
    alone, lanes = compared(lambda: (matched, (ROWS,)), 1)
    assert lanes.duration < alone.duration * 0.7


@contextlib.contextmanager
def tolerant() -> Generator[None]:
    try:
        yield
    except ValueError:
        print("passed by")


@contextlib.contextmanager
def suppressing() -> Generator[None]:
    with contextlib.suppress(ValueError):
        yield


class Tolerant:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, *_: object) -> bool:
        return kind is ValueError


def even(row: str) -> str:
    answer = ask(row)
    if int(answer.split()[0]) % 2:
        raise ValueError(answer)
    return answer


@flow
def suppressed(rows: list[str]) -> list[str]:
    answer, found = "none", list[str]()
    for row in each(rows):
        with contextlib.suppress(ValueError):
            answer = even(row)
        found.append(ask(answer))
    return found


@flow
def by_a_generator(rows: list[str]) -> list[str]:
    answer, found = "none", list[str]()
    for row in each(rows):
        with tolerant():
            answer = even(row)
        found.append(ask(answer))
    return found


@flow
def by_a_generator_in_another(rows: list[str]) -> list[str]:
    answer, found = "none", list[str]()
    for row in each(rows):
        with suppressing():
            answer = even(row)
        found.append(ask(answer))
    return found


@flow
def by_a_class(rows: list[str]) -> list[str]:
    answer, found = "none", list[str]()
    for row in each(rows):
        with Tolerant():
            answer = even(row)
        found.append(ask(answer))
    return found


@pytest.mark.parametrize("function", [suppressed, by_a_generator, by_a_generator_in_another, by_a_class])
def test_a_with_may_be_left_before_it_binds(function: Flow[..., list[str]]) -> None:
    compared(lambda: (function, (ROWS,)), 1)


@contextlib.contextmanager
def noted() -> Generator[None]:
    try:
        yield
    except ValueError:
        print("it failed")
        raise


@flow
def raised(rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        with noted():
            kind = row.upper()
        found.append(ask(kind))
    return found


def test_a_with_that_raises_again_binds() -> None:
    alone, lanes = compared(lambda: (raised, (ROWS,)), 1)
    assert lanes.duration < alone.duration * 0.7
