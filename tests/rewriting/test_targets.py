"""Loops that call what only a run knows. Nobody sees a difference, and what only asks or computes overlaps."""

from __future__ import annotations

from typing import Any

import pytest

from apxm.flows.flow import flow
from tests.lanes.comparing import compared
from tests.rewriting import unknown_callees as callees
from tests.rewriting.test_same import loaded

ROWS = ["a", "b", "c", "d"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("loop", callees.LOOPS, ids=lambda each: each.__name__)
def test_what_they_do_is_done_in_order(loop: Any, seed: int) -> None:
    def make() -> Any:
        callees.afresh()
        return flow(loop), (ROWS,)

    compared(make, seed)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("which", range(len(callees.CALLBACKS)))
def test_a_callback_is_called_in_order(which: int, seed: int) -> None:
    def make() -> Any:
        callees.afresh()
        return flow(callees.called), (ROWS, callees.CALLBACKS[which])

    compared(make, seed)


FAR = """\
seen = []
count = 0

def far(text):
    global count
    count += 1
    seen.append(text)
    return f"{count} {len(seen)}"

class Far:
    def __init__(self):
        self.n = 0
    def on(self, text):
        self.n += 1
        return self.n
"""


FAR_TOGETHER = """\
count = 0

def far(text):
    global count
    count += 1

def looks(text):
    return count
"""


@pytest.mark.parametrize("seed", range(2))
def test_what_one_of_a_far_module_changes_another_one_reads_at_its_turn(seed: int) -> None:
    def make() -> Any:
        module = loaded(FAR_TOGETHER, "far_together")
        return flow(callees.called_in_turns), (ROWS, [module["looks"], module["far"]])

    compared(make, seed)


FOUND_BY_A_NAME = """\
from apxm.flows.asking import ask
from apxm.flows.each import each

n = 0

def bump():
    global n
    n += 1

class Handlers:
    def __init__(self):
        self.n = 0

    def on_a(self, text):
        self.n += 1

    def on_b(self, text):
        self.n += 10


def found_by_a_name(rows):
    handlers, found = Handlers(), []
    for row in each(rows):
        answer = ask(row)
        found.append(handlers.n)
        getattr(handlers, "on_" + ("a" if row < "c" else "b"))(answer)
        globals()["bump"]()
        found.append((handlers.n, n))
    return found
"""


KEPT_AS_A_KEY = """\
from apxm.flows.asking import ask
from apxm.flows.each import each

scored = 0

def length(text):
    global scored
    scored += 1
    return len(text)

class Strategy:
    def __init__(self, key):
        self.key = key
    def score(self, text):
        return self.key(text)

STRATEGY = Strategy(key=length)

def main(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(scored)
        found.append((STRATEGY.score(answer), scored))
    return found
"""


@pytest.mark.parametrize("seed", range(2))
def test_what_a_class_is_given_as_its_key_is_called_in_order(seed: int) -> None:
    compared(lambda: (flow(loaded(KEPT_AS_A_KEY, "kept_as_a_key")["main"]), (ROWS,)), seed)


@pytest.mark.parametrize("seed", range(2))
def test_what_is_found_by_a_name_is_called_in_order(seed: int) -> None:
    compared(lambda: (flow(loaded(FOUND_BY_A_NAME, "by_name")["found_by_a_name"]), (ROWS,)), seed)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["far", "on"])
def test_a_callback_of_a_module_that_nobody_names_is_called_at_its_turn(name: str, seed: int) -> None:
    def make() -> Any:
        module = loaded(FAR, "far_away")
        return flow(callees.called_far), (ROWS, module["far"] if name == "far" else module["Far"]().on)

    compared(make, seed)


def test_a_default_may_call() -> None:
    compared(lambda: (flow(callees.with_a_default), (ROWS,)), 0)


@pytest.mark.parametrize("loop", [callees.asked_by_others, callees.agents])
def test_what_only_asks_overlaps(loop: Any) -> None:
    line_by_line, lanes = compared(lambda: (flow(loop), (ROWS,)), 0)
    assert lanes.ended - lanes.started < 0.6 * (line_by_line.ended - line_by_line.started)


FAR_ASKING = """\
from apxm.flows.asking import ask

PREFIX = "far "

def far(text):
    return ask(PREFIX + text.strip())
"""


def test_a_callback_that_only_asks_overlaps_wherever_it_stands() -> None:
    def make() -> Any:
        return flow(callees.called_far), (ROWS, loaded(FAR_ASKING, "far_asking")["far"])

    line_by_line, lanes = compared(make, 0)
    assert lanes.ended - lanes.started < 0.6 * (line_by_line.ended - line_by_line.started)
