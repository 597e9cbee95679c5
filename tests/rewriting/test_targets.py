"""Loops that call what only a run knows: functions out of lists, callbacks, observers. Nobody sees a difference, and
what only asks or computes overlaps."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import functools
import operator
import types
from dataclasses import dataclass, field
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared
from tests.rewriting.test_same import loaded

ROWS = ["a", "b", "c", "d"]
LOG = []
n = 0


class N:
    n = 0


def bump():
    global n
    n += 1


def bump_with(text):
    global n
    n += 1
    N.n += 1
    LOG.append(text)
    return text + str(n)


def shows():
    return n, N.n, len(LOG)


def giving():
    return bump_with


def fire(text):
    for hook in WITH:
        hook(text)


def size(_):
    return len(LOG)


def asks(text):
    return ask("asks " + text)


def plain(text):
    return text.upper()


def asks_and_notes(text):
    answer = ask("noted " + text)
    LOG.append(answer)
    return answer


def tool_of(text: str) -> str:
    return bump_with(text)


class Adder:
    def __init__(self, text):
        LOG.append(text)
        self.text = text


class Observed:
    def __init__(self):
        self.n = 0
        self.observers = [self.on]

    def on(self, text):
        self.n += 1

    def emit(self, text):
        for observer in self.observers:
            observer(text)


@dataclass
class Stats:
    calls: int = 0
    seen: dict = field(default_factory=dict)
    observers: list = field(default_factory=list)

    def __post_init__(self):
        self.observers.append(self.on)

    def on(self, text):
        self.calls += 1
        self.seen[text] = self.calls

    def emit(self, text):
        for observer in self.observers:
            observer(text)


HOOKS = [bump]
WITH = [bump_with]
TABLE = {"a": bump_with}
PAIRS = [("k", bump_with)]
CLASSES = [Adder]
noting = lambda text: LOG.append(text)
later = functools.partial(bump_with)
SIZES = [size]
ASKING = [asks, plain]


def out_of_a_list(rows):
    found = []
    for row in each(rows):
        ask(row)
        hook = HOOKS[0]
        hook()
        print(row, n)
        found.append(n)
    return found


def one_after_the_other(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        for hook in WITH:
            hook(answer)
        found.append((row, shows()))
    return found


def in_a_comprehension(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        [hook(answer) for hook in WITH]
        found.append((row, N.n))
    return found


def out_of_a_dict(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        for hook in TABLE.values():
            hook(answer)
        for _, hook in PAIRS:
            hook(answer)
        found.append((row, N.n))
    return found


def given_by_a_function(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        hook = giving()
        hook(answer)
        giving()(answer)
        found.append((row, N.n, n))
    return found


def in_passing(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        (hook := WITH[0])(answer)
        (bump_with if answer else print)(answer)
        other = bump_with or None
        other(answer)
        found.append((row, N.n))
    return found


def zipped_with_the_items(rows):
    found = []
    for hook, row in each(zip([bump_with] * 9, rows)):
        answer = ask(row)
        hook(answer)
        found.append((row, N.n))
    return found


def unpacked(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        match WITH:
            case [hook]:
                hook(answer)
        tables = {**TABLE}
        tables["a"](answer)
        (other,) = WITH
        other(answer)
        found.append((row, N.n))
    return found


def in_an_attribute(rows):
    found = []
    thing = types.SimpleNamespace(go=bump_with)
    for row in each(rows):
        answer = ask(row)
        thing.go(answer)
        getattr(thing, "go")(answer)
        found.append((row, N.n, n))
    return found


def behind_a_helper(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        fire(answer)
        found.append((row, n))
    return found


def behind_a_function_within(rows):
    def through(text, hooks):
        for hook in hooks:
            hook(text)

    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(n)
        through(answer, WITH)
        found.append((row, n))
    return found


def read_in_front(rows):
    """What it reads in front of the call is read before an iteration in front has called."""
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(f"{n} {N.n} {len(LOG)}")
        for hook in WITH:
            found.append(hook(answer))
    return found


def only_added(rows):
    """What is only added to here is read there."""
    found = []
    for row in each(rows):
        LOG.append(ask(row))
        for read in SIZES:
            found.append(read(row))
    return found


def without_a_source(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(len(LOG))
        noting(answer)
        later(answer)
        found.append(len(LOG))
    return found


def called_back(rows):
    found = []
    for row in each(rows):
        hooks = WITH[:]
        answer = ask(row)
        found.append(n)
        found.append(list(map(hooks[0], [answer, row])))
        found.append(max([answer, row], key=hooks[0]))
        found.append(operator.call(hooks[0], answer))
    return found


def made(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(len(LOG))
        for make in CLASSES:
            found.append(make(answer).text)
    return found


def observed(rows):
    bus, found = Observed(), []
    for row in each(rows):
        bus.emit(row)
        answer = ask(f"{row} {bus.n}")
        bus.emit(answer)
        found.append((bus.n, answer))
    return found


def observed_behind(rows):
    bus, found = Observed(), []
    for row in each(rows):
        answer = ask(row)
        found.append(bus.n)
        bus.emit(answer)
        found.append(bus.n)
    return found


def counted_by_a_dataclass(rows):
    stats, found = Stats(), []
    for row in each(rows):
        stats.emit(row)
        answer = ask(f"{row} {stats.calls}")
        stats.emit(answer[-2:])
        found.append(dict(stats.seen))
    return found


def counters():
    count = 0

    def add():
        nonlocal count
        count += 1

    def peek():
        return count

    return add, peek


def made_before_the_loop(rows):
    add, peek = counters()
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(peek())
        add()
        found.append((answer, peek()))
    return found


def given_to_the_model(rows, tools=(tool_of,)):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(n)
        found.append(ask(answer, tools=list(tools)))
    return found


LOOPS = [
    out_of_a_list,
    one_after_the_other,
    in_a_comprehension,
    out_of_a_dict,
    given_by_a_function,
    in_passing,
    zipped_with_the_items,
    unpacked,
    in_an_attribute,
    behind_a_helper,
    behind_a_function_within,
    read_in_front,
    only_added,
    without_a_source,
    called_back,
    made,
    observed,
    observed_behind,
    counted_by_a_dataclass,
    made_before_the_loop,
    given_to_the_model,
]


def afresh():
    global n
    n = N.n = 0
    LOG.clear()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loop", LOOPS, ids=lambda each: each.__name__)
def test_what_they_do_is_done_in_order(loop: Any, seed: int) -> None:
    def make() -> Any:
        afresh()
        return flow(loop), (ROWS,)

    compared(make, seed)


def called(rows, callback):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(n)
        found.append(callback(answer))
        found.append((row, n, len(LOG)))
    return found


CALLBACKS = [
    bump_with,
    size,
    asks_and_notes,
    lambda text: bump_with(text),
    functools.partial(bump_with),
    Observed().emit,
    lambda text: Adder(text).text,
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("which", range(len(CALLBACKS)))
def test_a_callback_is_called_in_order(which: int, seed: int) -> None:
    def make() -> Any:
        afresh()
        return flow(called), (ROWS, CALLBACKS[which])

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


def called_far(rows, callback):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(callback(answer))
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["far", "on"])
def test_a_callback_of_a_module_that_nobody_names_is_called_at_its_turn(name: str, seed: int) -> None:
    def make() -> Any:
        module = loaded(FAR, "far_away")
        return flow(called_far), (ROWS, module["far"] if name == "far" else module["Far"]().on)

    compared(make, seed)


def asked_by_others(rows, callback=asks):
    found = []
    for row in each(rows):
        one = [function(row) for function in ASKING]
        found.append((one, callback(row)))
    return found


class Agent:
    def __init__(self, name, step):
        self.name = name
        self.step = step
        self.messages = []

    def run(self, text):
        self.messages.append(text)
        self.messages.append(self.step(text))
        return len(self.messages)


def agents(rows):
    found = {}
    for row in each(rows):
        agent = Agent(row, asks)
        found[row] = agent.run(row)
    return found


@pytest.mark.parametrize("loop", [asked_by_others, agents])
def test_what_only_asks_overlaps(loop: Any) -> None:
    line_by_line, lanes = compared(lambda: (flow(loop), (ROWS,)), 0)
    assert lanes.ended - lanes.started < 0.6 * (line_by_line.ended - line_by_line.started)


FAR_ASKING = """\
from apxm.flows.asking import ask

def far(text):
    return ask("far " + text.strip())
"""


def test_a_callback_that_only_asks_overlaps_wherever_it_stands() -> None:
    def make() -> Any:
        return flow(called_far), (ROWS, loaded(FAR_ASKING, "far_asking")["far"])

    line_by_line, lanes = compared(make, 0)
    assert lanes.ended - lanes.started < 0.6 * (line_by_line.ended - line_by_line.started)
