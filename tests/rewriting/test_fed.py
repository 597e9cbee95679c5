"""Loops whose iterations change what they go through, or look at other items than their own: they run in sequence."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared, loops_in


class Work:
    def __init__(self, rows):
        self.todo = list(rows)
        self.done = []

    def run(self):
        out = []
        for row in each(self.todo):
            a = ask(row)
            out.append(a)
            if len(self.todo) < 6:
                self.todo.append(a[:3])
        return out

    def only_adds(self):
        for row in each(self.todo):
            self.done.append(ask(ask(row)))
        return self.done


def attribute(rows):
    return Work(rows).run()


def attribute_of_another(rows):
    work = Work(rows)
    out = []
    for row in each(work.todo):
        a = ask(row)
        out.append(a)
        if len(out) < 6:
            work.todo.append(a[:3])
    return out


TODO = []


def add(text):
    if len(TODO) < 6:
        TODO.append(text)


def of_module(rows):
    TODO[:] = rows
    out = []
    for row in each(TODO):
        a = ask(row)
        out.append(a)
        add(a[:3])
    return out


class Queue:
    def __init__(self, rows):
        self.waiting = list(rows)

    def __iter__(self):
        while self.waiting:
            yield self.waiting.pop(0)


def iterable(rows):
    queue = Queue(rows)
    out = []
    for row in each(queue):
        a = ask(row)
        out.append(a)
        if len(out) < 6:
            queue.waiting.append(a[:3])
    return out


class Row:
    def __init__(self, text):
        self.text = text
        self.score = None
        self.model = None


def best(table):
    return max((row.score for row in table if row.score is not None), default=0)


def others_by_a_function(rows):
    table = [Row(row) for row in rows]
    for row in each(table):
        row.score = len(ask(row.text))
        row.text = ask(f"{row.text} {best(table)}")
    return [row.text for row in table]


def others_by_hand(rows):
    table = [Row(row) for row in rows]
    for row in each(table):
        row.score = len(ask(row.text))
        done = sum(1 for other in table if other.score)
        row.text = ask(f"{row.text} {done}")
    return [row.text for row in table]


class Table:
    def __init__(self, rows):
        self.rows = [Row(row) for row in rows]
        self.model = "m"

    def done(self):
        return sum(1 for row in self.rows if row.score)

    def run(self):
        for row in each(self.rows):
            row.score = len(ask(row.text))
            row.text = ask(f"{row.text} {self.done()}")
        return [row.text for row in self.rows]

    def run_alone(self):
        for row in each(self.rows):
            row.model = self.model
            row.score = ask(row.text, self.model)
            row.text = ask(row.text, row.score)
        return [row.text for row in self.rows]


def others_of_a_table(rows):
    return Table(rows).run()


def alone(rows):
    return Table(rows).run_alone()


def only_adds(rows):
    return Work(rows).only_adds()


LOOPS = loops_in(globals())


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)
    sequential, lanes = compared(lambda: (made, (["xxxx", "y", "zz"],)), seed)
    if loop in (alone, only_adds):
        assert lanes.duration < sequential.duration * 0.7
