"""Loops that call what only a run knows: functions out of lists, callbacks, observers. `test_targets.py` runs them."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import functools
import heapq
import itertools
import operator
import re
import types
from dataclasses import dataclass, field

from apxm.flows.asking import ask
from apxm.flows.each import each


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


def replacing(match):
    return bump_with(match[0])


def added(one, other):
    return bump_with(one + other)


DIGIT = re.compile("[0-9]")


def called_by_libraries(rows, callback=bump_with):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(DIGIT.sub(replacing, answer))
        found.append(list(itertools.accumulate(answer, added)))
        found.append(heapq.nsmallest(2, answer, key=callback))
        letters = list(answer)
        letters.sort(key=callback)
        found.append(letters)
        found.append((next(iter(lambda: bump_with(row), "")), n))
    return found


def drawn_later(rows):
    found = []
    for row in each(rows):
        drawn = map(bump_with, [row, "b"])
        answer = ask(row)
        found.append((list(drawn), n, answer))
    return found


def defined_where_none_is_given(rows, callback=bump_with):
    if callback is None:

        def callback(text):
            return text

    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(n)
        found.append(callback(answer))
    return found


def replaced(text):
    return text


def replace_it():
    global replaced
    replaced = bump_with


def replaced_in_the_module(rows):
    replace_it()
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(n)
        found.append(replaced(answer))
    return found


class Counting:
    def __init__(self, text):
        self.text = bump_with(text)


def made_of_a_list(rows):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(n)
        found.append([make(answer).text for make in [Counting]])
    return found


LOOPS = [
    called_by_libraries,
    drawn_later,
    defined_where_none_is_given,
    replaced_in_the_module,
    made_of_a_list,
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


def called_far(rows, callback):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append(callback(answer))
    return found


def called_in_turns(rows, callbacks):
    found = []
    for row in each(rows):
        answer = ask(row)
        found.append([callback(answer) for callback in callbacks])
    return found


def asked_by_others(rows, callback=asks):
    found = []
    for row in each(rows):
        one = [function(row) for function in ASKING]
        found.append((one, callback(row)))
    return found


def with_a_default(rows, asks_more=lambda text: ask(text)):
    return [asks_more(row) for row in each(rows)]


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
