"""Loops whose iterations meet in one list that has two names, in attributes or in the module."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared, loops_in

LINES = []
REPORT = {"parts": [{"lines": LINES}]}
PAIR = ("lines", LINES)
PARTS = {"pair": ("lines", LINES)}


def in_module(rows):
    LINES.clear()
    out = []
    for row in each(rows):
        n = len(REPORT["parts"][0]["lines"])
        a = ask(f"{row} {n}")
        LINES.append(a)
        out.append(a)
    return out


def in_tuple(rows):
    LINES.clear()
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(LINES)}")
        PAIR[1].append(a)
        out.append(a)
    return out


def in_tuple_in_dict(rows):
    LINES.clear()
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(PARTS['pair'][1])}")
        LINES.append(a)
        out.append(a)
    return out


def noted(a):
    LINES.append(a)


def in_module_by_function(rows):
    LINES.clear()
    out = []
    for row in each(rows):
        n = len(REPORT["parts"][0]["lines"])
        a = ask(f"{row} {n}")
        noted(a)
        out.append(a)
    return out


class Report:
    def __init__(self):
        self.lines = []
        self.report = {"lines": self.lines}
        self.size = 0

    def one(self, row):
        n = len(self.report["lines"])
        a = ask(f"{row} {n}")
        self.lines.append(a)
        return a


def in_attributes(rows):
    report = Report()
    return [report.one(row) for row in each(rows)], report.report


def in_attributes_of_object(rows):
    report = Report()
    out = []
    for row in each(rows):
        n = len(report.report["lines"])
        a = ask(f"{row} {n}")
        report.lines.append(a)
        out.append(a)
    return out, report.report


class State:
    def __init__(self):
        self.log = []
        self.count = 0


def in_name(rows):
    state = State()
    box = {"l": state.log}
    out = []
    for row in each(rows):
        n = len(box["l"])
        a = ask(f"{row} {n}")
        state.log.append(a)
        out.append(a)
    return out, box


def in_name_the_other_way(rows):
    state = State()
    log = state.log
    out = []
    for row in each(rows):
        n = len(state.log)
        a = ask(f"{row} {n}")
        log.append(a)
        out.append(a)
    return out, log


def only_added(rows):
    state = State()
    for row in each(rows):
        a = ask(row)
        state.log.append(a)
        state.count += 1
        ask(a)
    return state.log, state.count


LOOPS = loops_in(globals())


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)
    alone, lanes = compared(lambda: (made, (["xxxx", "y", "zz", "xxxx"],)), seed)
    if loop is only_added:
        assert lanes.duration < alone.duration * 0.7
