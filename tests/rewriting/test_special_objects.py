"""Loops over objects whose special methods look, count, or ask: nobody sees a difference, and what can overlaps."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared, loops_in


class Lazy(dict):
    def __missing__(self, key):
        self[key] = ask(key)
        return self[key]


def lazy(rows):
    table = Lazy()
    out = []
    for row in each(rows):
        n = len(table)
        a = ask(f"{row} {n}")
        out.append(table[row[:1]])
    return out, dict(table)


def lazy_alone(rows):
    table = Lazy()
    return [table[row] for row in each(rows)], dict(table)


class Judge:
    def __init__(self):
        self.calls = 0

    def __call__(self, row):
        self.calls += 1
        first = ask(row)
        return ask(row + first)


def judging(rows):
    judge = Judge()
    out = []
    for row in each(rows):
        out.append(judge(row))
    return out, judge.calls


JUDGE = Judge()


def judging_global(rows):
    JUDGE.calls = 0
    out = []
    for row in each(rows):
        out.append(JUDGE(row))
    return out, JUDGE.calls


class Store:
    """Whose special methods only look."""

    def __init__(self):
        self.items = []

    def put(self, item):
        self.items.append(item)

    def __len__(self):
        return len(self.items)

    def __str__(self):
        return " ".join(self.items)

    def __contains__(self, item):
        return item in self.items

    def __iter__(self):
        for item in self.items:
            yield item

    def __getitem__(self, k):
        return self.items[k]


class Owner:
    def __init__(self):
        self.store = Store()

    def size(self, row):
        n = len(self.store)
        a = ask(f"{row} {n}")
        self.store.put(a)
        return a

    def said(self, row):
        a = ask(f"{row} {self.store}")
        self.store.put(a)
        return a

    def seen(self, row):
        if row in self.store:
            return "seen"
        a = ask(row)
        self.store.put(row)
        return a

    def all(self, row):
        a = ask(row + "".join(self.store))
        self.store.put(a)
        return a

    def last(self, row):
        a = ask(row + (self.store[-1] if self.store else ""))
        self.store.put(a)
        return a


def store_size(rows):
    owner = Owner()
    return [owner.size(row) for row in each(rows)]


def store_said(rows):
    owner = Owner()
    return [owner.said(row) for row in each(rows)]


def store_seen(rows):
    owner = Owner()
    return [owner.seen(row) for row in each(rows)]


def store_all(rows):
    owner = Owner()
    return [owner.all(row) for row in each(rows)]


def store_last(rows):
    owner = Owner()
    return [owner.last(row) for row in each(rows)]


class Talk:
    """One of each iteration's own."""

    def __init__(self):
        self.said = []

    def __iadd__(self, message):
        self.said.append(message)
        return self

    def __str__(self):
        self.shown = len(self.said)
        return " ".join(self.said)


def talks(rows):
    out = []
    for row in each(rows):
        talk = Talk()
        talk += row
        talk += ask(str(talk))
        talk += ask(f"{talk}")
        out.append(f"{talk}")
    return out


KEYS = []


class Noting:
    """Whose effect nobody reads in the loop."""

    def __getitem__(self, key):
        KEYS.append(key)
        return key

    @property
    def noted(self):
        KEYS.append("noted")
        return len(KEYS)

    def __str__(self):
        KEYS.append("str")
        return "noting"


def noting(rows):
    KEYS.clear()
    notes = Noting()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(notes[a])
        out.append(ask(f"{notes} {a}"))
    return out, KEYS[:]


class Hits:
    """Counts only, and nobody reads it in the loop."""

    def __init__(self):
        self.hits = 0
        self.table = {"a": 1}

    def __getitem__(self, key):
        self.hits += 1
        return self.table.get(key, 0)


def hits(rows):
    table = Hits()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append((table["a"], a))
        out.append(ask(f"{a} {table[a]}"))
    return out, table.hits


LOOPS = loops_in(globals())
OVERLAPPING = {"talks", "hits", "judging", "judging_global", "noting"}
"""Those of which each iteration is as good as two calls."""


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)
    alone, lanes = compared(lambda: (made, (["xxxx", "y", "zz", "xxxx"],)), seed)
    if loop.__name__ in OVERLAPPING:
        assert lanes.duration < alone.duration * 0.7
