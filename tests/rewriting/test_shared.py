"""Loops whose iterations make objects of their own that share something: by their class, or as each was given it."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared, loops_in, ran

SECOND = 1_000_000_000


class Agent:
    history = []
    known = {}
    turns = 0

    def __init__(self, name, log=None, notes=[]):
        self.name = name
        self.log = log
        self.notes = notes

    def say(self):
        a = ask(f"{self.name} {self.history}")
        self.history.append(a)
        return a

    def note(self):
        a = ask(f"{self.name} {self.notes}")
        self.notes.append(a)
        return a

    def tell(self):
        a = ask(f"{self.name} {self.log}")
        self.log.append(a)
        return a

    def find(self):
        if len(self.name) not in self.known:
            self.known[len(self.name)] = ask(self.name)
        return self.known[len(self.name)]

    def turn(self):
        Agent.turns += 1
        return self.turns


def of_class(rows):
    Agent.history.clear()
    return [Agent(row).say() for row in each(rows)]


def of_class_by_name(rows):
    Agent.history.clear()
    out = []
    for row in each(rows):
        agent = Agent(row)
        a = ask(row, str(agent.history))
        agent.history.append(a)
        out.append(a)
    return out


def cache_of_class(rows):
    Agent.known.clear()
    out = []
    for row in each(rows):
        agent = Agent(row)
        out.append(ask(agent.find()))
    return out


def cache_of_class_by_hand(rows):
    Agent.known.clear()
    out = []
    for row in each(rows):
        agent = Agent(row)
        if row not in agent.known:
            agent.known[row] = ask(row)
        out.append(ask(agent.known[row]))
    return out


def number_of_class(rows):
    Agent.turns = 0
    out = []
    for row in each(rows):
        agent = Agent(row)
        a = ask(row)
        out.append(ask(f"{a} {agent.turn()}"))
    return out


class Voice:
    spoken = 0


Speaker = Voice


def number_of_class_by_another_name(rows):
    Speaker.spoken = 0
    out = []
    for row in each(rows):
        voice = Voice()
        a = ask(row, str(voice.spoken))
        Speaker.spoken += 1
        out.append(a)
    return out


class Span:
    path = []

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.path.append(self.name)

    def __exit__(self, *_):
        self.path.pop()


def manager(rows):
    out = []
    for row in each(rows):
        with Span(row):
            out.append(ask(" ".join(Span.path)))
    return out


def manager_in_manager(rows):
    out = []
    for row in each(rows):
        with Span(row):
            a = ask(row)
            with Span("inner"):
                out.append(ask(a, *Span.path))
    return out


def given(rows):
    log = []
    return [Agent(row, log).tell() for row in each(rows)]


def given_by_name(rows):
    log = []
    out = []
    for row in each(rows):
        agent = Agent(row, log=log)
        out.append(agent.tell())
    return out


def by_default(rows):
    Agent.__init__.__defaults__[1].clear()
    return [Agent(row).note() for row in each(rows)]


LOG = []


class Noting:
    def __init__(self, name):
        self.name = name
        self.log = LOG

    def say(self):
        a = ask(self.name, str(self.log))
        self.log.append(a)
        return a


def of_module(rows):
    LOG.clear()
    return [Noting(row).say() for row in each(rows)]


@dataclass
class Kept:
    name: str
    log: list

    def say(self):
        a = ask(self.name, str(self.log))
        self.log.append(a)
        return a


def kept(rows):
    log = []
    return [Kept(row, log).say() for row in each(rows)]


class Pair(NamedTuple):
    name: str
    log: list


def paired(rows):
    log = []
    out = []
    for row in each(rows):
        pair = Pair(row, log)
        a = ask(pair.name, str(pair.log))
        pair.log.append(a)
        out.append(a)
    return out


class Slotted:
    __slots__ = ("name", "log")

    def __init__(self, name, log):
        self.name = name
        self.log = log

    def say(self):
        a = ask(self.name, str(self.log))
        self.log.append(a)
        return a


def slotted(rows):
    log = []
    return [Slotted(row, log).say() for row in each(rows)]


def run(state):
    a = ask(state["q"], str(state["history"]))
    state["history"].append(a)
    return a


def in_a_dict(rows):
    history = []
    return [run({"q": row, "history": history}) for row in each(rows)]


BASE = {"history": []}


def in_a_merged_dict(rows):
    BASE["history"].clear()
    return [run({**BASE, "q": row}) for row in each(rows)]


def note(pair, a):
    pair[1] += [a]


def run_pair(pair):
    a = ask(pair[0], str(pair[1]))
    note(pair, a)
    return a


def in_a_tuple(rows):
    history = []
    return [run_pair((row, history)) for row in each(rows)]


def run_alone(state):
    state["a"] = ask(state["q"], state["config"]["tone"])
    state["b"] = ask(state["a"], state["config"]["tone"])
    return state["b"]


def in_a_dict_of_its_own(rows):
    config = {"tone": "plain"}
    return [run_alone({"q": row, "config": config}) for row in each(rows)]


LOOPS = loops_in(globals())


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)
    alone, lanes = compared(lambda: (made, (["xxxx", "y", "zz", "xxxx"],)), seed)
    if loop is in_a_dict_of_its_own:
        assert lanes.duration < alone.duration * 0.7


@dataclass
class Talking:
    name: str
    messages: list = field(default_factory=list)
    turns: int = 0

    def run(self):
        for _ in range(3):
            self.turns += 1
            self.messages.append(ask(f"{self.name} {self.turns} {self.messages}"))
        return self.messages


def test_what_a_factory_makes_is_the_iterations_own() -> None:
    @flow
    def talks(rows: list[str]) -> list[list[str]]:
        return [Talking(row).run() for row in each(rows)]

    _, lanes = ran(lambda: talks.lanes(["a", "b", "c", "d"]), lambda: SECOND)
    assert lanes.duration == 3 * SECOND
