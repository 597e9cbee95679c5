"""Flows that are called inside of a run: they are part of it, whichever way they are called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from apxm import ask, each, flow
from apxm.errors import UsageError
from apxm.runtime.limits import BackendPool
from tests.lanes.comparing import Echoing

POOL = BackendPool({"echo": Echoing(lambda: 1)}, "echo")
FAST: dict[str, Any] = {"backend": "simulated", "latency": "constant:1", "journal": False}


@flow
def label(row: str) -> str:
    return ask(f"Label {row}")


def is_called(program: Any, row: str) -> object:
    return program(row)


def is_run(program: Any, row: str) -> object:
    return program.run(row).value


def is_awaited(program: Any, row: str) -> object:
    return asyncio.run(program.run_async(row)).value


def is_batched(program: Any, row: str) -> object:
    return program.batch([row]).value[0]


WAYS: list[Callable[[Any, str], object]] = [is_called, is_run, is_awaited, is_batched]


def within(program: Any, way: Callable[[Any, str], object]) -> list[object]:
    """What a flow gives that calls another one so."""

    @flow
    def outer(rows: list[str]) -> list[object]:
        return [way(program, row) for row in each(rows)]

    return outer.using(**FAST).run(["a", "b"]).value


@pytest.mark.parametrize("way", WAYS)
def test_the_backend_of_the_run_may_be_named(way: Callable[[Any, str], object]) -> None:
    alone = within(label, way)
    assert within(label.using(backend="simulated", max_concurrency=1), way) == alone
    assert [str(answer)[:9] for answer in alone] == ["Simulated"] * 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("option", "value"), [("backend", "other"), ("model", "big"), ("config", "other.toml"), ("backends", POOL)]
)
def test_another_backend_is_refused(way: Callable[[Any, str], object], option: str, value: object) -> None:
    with pytest.raises(
        UsageError, match=f"label.* runs as part of another run, and says `{option}` of its own"
    ) as told:
        within(label.using(**{option: value}), way)
    assert (
        told.value.hint == "say it of the run that this is part of: a command has `--backend`, `--model` and `--config`"
    )


@pytest.mark.parametrize("way", WAYS)
def test_an_option_that_there_is_not_is_refused(way: Callable[[Any, str], object]) -> None:
    with pytest.raises(UsageError, match="a flow has no option 'max_concurency'"):
        within(label.using(max_concurency=3), way)


def test_the_call_of_a_flow_that_is_refused_can_be_caught() -> None:
    def caught(program: Any, row: str) -> object:
        try:
            return program(row)
        except UsageError:
            return label(row)

    assert within(label.using(backend="other"), caught) == within(label, is_called)
