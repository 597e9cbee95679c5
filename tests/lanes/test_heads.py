"""What iterations do in front of their first calls happens in order, also where one of them waits unforeseen."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import configparser
from collections.abc import Callable
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared

SETTINGS = configparser.ConfigParser()
SETTINGS.read_string("[one]\nname = 1\n")
ROWS = ["a", "b", "c", "d", "e", "f"]


def counted(rows):
    number, out = 0, []
    for row in each(rows):
        if row in "bd":
            SETTINGS.get("one", "name")  # by its name it only looks, and when it runs nobody knows what it does
        number += 1
        out.append(ask(f"{row} {number}"))
    return out


def looked(row):
    return SETTINGS.get("one", "name") if row in "bd" else row


def counted_behind_a_function(rows):
    seen, out = {}, []
    for row in each(rows):
        looked(row)
        seen[row] = len(seen)
        out.append(ask(f"{row} {seen[row]}"))
    return out


def nested(rows):
    number, out = 0, []
    for row in each(rows):
        for part in each(["x", "y", "z"]):
            if (row in "bd") == (part == "y"):
                SETTINGS.get("one", "name")
            number += 1
            out.append(ask(f"{row} {part} {number}"))
    return out


def behind_a_call(rows):
    out = []
    for row in each(rows):
        number, answer = 0, ask(row)
        for part in each(["x", "y", "z"]):
            if part == "y":
                SETTINGS.get("one", "name")
            number += 1
            out.append(ask(f"{answer} {part} {number}"))
    return out


def without_a_call(rows):
    number, out = 0, []
    for row in each(rows):
        if row in "bd":
            SETTINGS.get("one", "name")
        number += 1
        if row in "bc":
            continue
        out.append(ask(f"{row} {number}"))
    return out


def failing(rows):
    number, out = 0, []
    for row in each(rows):
        if row in "bd":
            SETTINGS.get("one", "name")
        number += 1
        if row == "d":
            raise ValueError(number)
        out.append(ask(f"{row} {number}"))
    return out


def failing_before(rows):
    out = []
    for row in each(rows):
        if row == "b":
            ask("first")
            raise ValueError(row)
        SETTINGS.get("one", "name")
        out.append(ask(row))
    return out


def leaving_before(rows):
    out = []
    for row in each(rows):
        if row == "b":
            ask("first")
            break
        if row == "c":
            SETTINGS.get("one", "name")
        out.append(ask(row))
    return out


def returning_before(rows):
    for row in each(rows):
        for part in each(["x", "y"]):
            if row == "b":
                ask("first")
                return part
            if row == "c":
                SETTINGS.get("one", "name")
            ask(row + part)


FUNCTIONS = [
    counted, counted_behind_a_function, nested, behind_a_call, without_a_call, failing, failing_before, leaving_before,
    returning_before,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("function", FUNCTIONS)
def test_heads_stay_in_order_where_one_waits(function: Callable[..., Any], seed: int) -> None:
    compared(lambda: (flow(function), (ROWS,)), seed)


def test_those_that_do_not_wait_overlap() -> None:
    sequential, lanes = compared(lambda: (flow(counted), (ROWS,)), 1)
    assert lanes.duration < sequential.duration
