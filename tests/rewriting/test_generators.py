"""Generators over `each`: those that somebody may leave early are refused, before anything is asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import Flow, flow
from tests.lanes.comparing import compared


def first(rows: list[str]) -> str:
    return next(answer for answer in (ask(row) for row in each(rows)) if answer)


def has(rows: list[str]) -> bool:
    return any("a" in ask(row) for row in each(rows))


def all_have(rows: list[str]) -> bool:
    return all(ask(row) for row in each(rows))


def stored(rows: list[str]) -> Any:
    answers = (ask(row) for row in each(rows))
    return next(answers)


def left(rows: list[str]) -> str:
    for answer in (ask(row) for row in each(rows)):
        return answer
    return ""


@pytest.mark.parametrize("function", [first, has, all_have, stored, left])
def test_what_may_be_left_early_is_refused(function: Any) -> None:
    with pytest.raises(UsageError, match="what goes through it may stop early") as refused:
        flow(function)
    assert refused.value.hint is not None
    assert "`[…]`" in refused.value.hint


def test_what_is_gone_through_to_its_end_overlaps() -> None:
    def make() -> tuple[Flow[..., Any], tuple[Any, ...]]:
        @flow
        def whole(rows: list[str]) -> object:
            found: list[str] = []
            found.extend(ask("extend", row) for row in each(rows))
            return [
                found,
                sum(len(ask("sum", row)) for row in each(rows)),
                max((ask("max", row) for row in each(rows)), key=len),
                ", ".join(ask("join", row) for row in each(rows)),
                Counter(ask("count", row)[0] for row in each(rows)),
                [answer[0] for answer in (ask("list", row) for row in each(rows))],
                [*(ask("star", row) for row in each(rows))],
                any([ask("any", row) for row in each(rows)]),  # noqa: C419  # a generator is refused
            ]

        return whole, (["a", "b", "c", "d"],)

    first, second = compared(make, 1)
    assert second.duration < first.duration / 1.5
