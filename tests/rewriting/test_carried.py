"""Loops whose iterations are not independent, however that is hidden: they are refused, or run in sequence, or no one
sees a difference."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import collections
import functools
import itertools
import os
import tempfile
import types
from contextvars import ContextVar
from typing import Any

import pytest

from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.flow import flow
from apxm.flows.each import each
from tests.lanes.comparing import compared


def closure(rows):
    state = [""]

    def remember(x):
        state[0] = x

    def recall():
        return state[0]

    out = []
    for r in each(rows):
        a = ask(r + recall())
        remember(a)
        out.append(a)
    return out


def nonl(rows):
    last = ""

    def setl(x):
        nonlocal last
        last = x

    out = []
    for r in each(rows):
        a = ask(r + last)
        setl(a)
        out.append(a)
    return out


def nonl_at_once(rows):
    last = ""

    def setl(x):
        nonlocal last
        last = x

    for r in each(rows):
        setl(ask(r + last))
    return last


class S:
    last = ""


def attr(rows):
    s = S()
    for r in each(rows):
        a = ask(r + s.last)
        s.last = a
    return s.last


def gen(rows):
    g = (str(i) for i in range(100))
    out = []
    for r in each(rows):
        x = next(g)
        a = ask(r + x)
        y = next(g)
        out.append((a, x, y))
    return out


def gen2(rows):
    it = iter(rows)
    out = []
    for r in each(it):
        a = ask(r)
        n = next(it, None)
        out.append((a, n))
    return out


def star(rows):
    out = []
    rest = []
    for r in each(rows):
        first, *rest = ask(r + str(rest)).split()
        out.append(first)
    return out, rest


def growing(rows):
    idx = {}
    for r in each(rows):
        near = sorted(idx)[:2]
        a = ask(r + str(near))
        idx[a] = r
    return idx


def alias(rows):
    log = []
    l2 = log
    out = []
    for r in each(rows):
        a = ask(r + str(len(l2)))
        log.append(a)
    return log


def param(rows, memo={}):
    out = []
    for r in each(rows):
        if r in memo:
            out.append(memo[r])
            continue
        memo[r] = ask(r)
        out.append(memo[r])
    memo2 = dict(memo)
    memo.clear()
    return out, memo2


def filecarry(rows):
    p = tempfile.mktemp()
    with open(p, "w"):
        pass
    for r in each(rows):
        with open(p) as f:
            prev = f.read()
        a = ask(r + prev[-5:])
        with open(p, "a") as f:
            f.write(a)
    with open(p) as f:
        t = f.read()
    os.remove(p)
    return t


def envcarry(rows):
    os.environ.pop("XX", None)
    for r in each(rows):
        a = ask(r + os.environ.get("XX", ""))
        os.environ["XX"] = a[:3]
    return os.environ["XX"]


class Agent:
    def __init__(self):
        self.hist = []

    def chat(self, m):
        self.hist.append(m)
        a = ask(" ".join(self.hist))
        self.hist.append(a)
        return a


def agentshared(rows):
    a = Agent()
    out = []
    for r in each(rows):
        out.append(a.chat(r))
    return out, a.hist


def agentown(rows):
    out = []
    for r in each(rows):
        a = Agent()
        a.chat(r)
        out.append(a.chat("more"))
    return out


CACHE = {}


def cached(q):
    if q not in CACHE:
        CACHE[q] = ask(q)
    return CACHE[q]


def gcache(rows):
    CACHE.clear()
    return [cached(r) for r in each(rows)]


@functools.lru_cache
def lru(q):
    return ask(q)


def lrucached(rows):
    lru.cache_clear()
    return [lru(r) for r in each(rows)]


def lam(rows):
    out = []
    f = lambda a: out.append(a) or len(out)
    res = []
    for r in each(rows):
        n = f(ask(r))
        res.append(ask(r + str(n)))
    return res


def dflt(rows):
    d = collections.defaultdict(list)
    for r in each(rows):
        d[r].append(ask(r + str(len(d))))
    return dict(d)


def inplace(rows):
    acc = []
    for r in each(rows):
        a = ask(r)
        acc += [a]
        acc = acc + [str(len(acc))]
    return acc


def zipped(rows):
    out = []
    it = zip(rows, itertools.count())
    for r, i in each(it):
        out.append(ask(f"{r}{i}"))
    return out, next(it, None)


def mapping(rows):
    seen = []

    def tag(x):
        seen.append(x)
        return ask(x + str(len(seen)))

    return [list(map(tag, [r, r])) for r in each(rows)], seen


def unpackstate(rows):
    a, b = 0, 1
    out = []
    for r in each(rows):
        x = ask(r + str(a))
        a, b = b, a + b
        out.append(x)
    return out


def excstate(rows):
    errors = 0
    out = []
    for r in each(rows):
        try:
            x = ask(r)
            if errors > 1:
                raise ValueError
            int(x)
        except ValueError:
            errors += 1
        out.append(errors)
    return out


def longest(rows):
    best = 0
    for r in each(rows):
        a = ask(r)
        if len(a) + len(r) > best:
            best = len(a) + len(r)
            print(best)
    return best


def ranked(rows):
    score, out = {}, []
    for r in each(rows):
        score[r] = score.get(r, 0) + len(ask(r))
        out.append(max(score, key=lambda x: (score[x], x)))
        out.append(ask(r + out[-1]))
    return score, out


def first_found(rows):
    first, before = None, ""
    for r in each(rows):
        a = ask(r)
        if first is None and len(r) > 1:
            first = r
        print(before, first)
        before = r
        ask(a)
    return first, before


def first_that_grows(rows):
    first = None
    for r in each([[r] for r in rows]):
        a = ask(str(r))
        if first is None:
            first = r
        first.append(a)
    return first


REFUSED = {first_that_grows, nonl, nonl_at_once, star, unpackstate}
LOOPS = [
    found
    for found in list(globals().values())
    if isinstance(found, types.FunctionType) and found.__module__ == __name__ and found not in (cached, lru)
]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    if loop in REFUSED:
        with pytest.raises(UsageError, match="each iteration needs what the one before it left"):
            flow(loop)
        return
    made = flow(loop)
    compared(lambda: (made, (["xxxx", "y", "zz", "xxxx"],)), seed)


COUNT: ContextVar[int] = ContextVar("count", default=0)


def numbered():
    COUNT.set(COUNT.get() + 1)
    return COUNT.get()


def counted_in_a_context(rows):
    for row in each(rows):
        COUNT.set(COUNT.get() + 1)
        ask(f"{COUNT.get()} {row}")


def counted_in_a_function(rows):
    return [ask(f"{numbered()} {row}") for row in each(rows)]


def nested(rows):
    out = []
    for row in each(rows):
        token = COUNT.set(COUNT.get() + 1)
        out.append(ask(f"{COUNT.get()} {row}"))
        COUNT.reset(token)
    return out


def set_alone(rows):
    out = []
    for row in each(rows):
        COUNT.set(len(row))
        out.append(ask(f"{COUNT.get()} {row}"))
    return out


@pytest.mark.parametrize("function", [counted_in_a_context, counted_in_a_function])
def test_a_context_variable_that_counts_iterations_is_refused(function):
    with pytest.raises(UsageError, match="needs what the one before it left in `COUNT`"):
        flow(function)


@pytest.mark.parametrize("function", [nested, set_alone])
def test_a_context_variable_that_is_reset_or_set_first_is_each_iteration_s_own(function):
    sequential, lanes = compared(lambda: (flow(function), (["a", "bb", "c"],)), 1)
    assert lanes.duration < sequential.duration


# A loop whose iterations go through what it goes through itself, whatever they call that; or add to what a generator
# reads on the way.


def by_its_method(rows):
    items, out = iter(rows), []
    step = items.__next__
    for row in each(items):
        out.append(ask(f"{row} {step()}"))
    return out


def by_getattr(rows):
    items, out = iter(rows), []
    step = getattr(items, "__next__")
    for row in each(items):
        out.append(ask(f"{row} {step()}"))
    return out


def by_getattr_inside(rows):
    items, out = iter(rows), []
    for row in each(items):
        out.append(ask(f"{row} {getattr(items, '__next__')()}"))
    return out


def by_partial(rows):
    items, out = iter(rows), []
    step = functools.partial(next, items, None)
    for row in each(items):
        out.append((ask(row), step()))
    return out


def worklist(rows):
    todo, out = collections.deque(rows), []

    def pending():
        while todo:
            yield todo.popleft()

    for row in each(pending()):
        out.append(ask(row))
        if len(row) < 2:
            todo.append(row + "2")
    return out


TODO: list[str] = []


def pending():
    while TODO:
        yield TODO.pop(0)


def worklist_of_the_module(rows):
    TODO[:] = rows
    out = []
    for row in each(pending()):
        out.append(ask(row))
        if len(row) < 2:
            TODO.append(row + "2")
    return out


class Work:
    def __init__(self, rows):
        self.todo = list(rows)

    def pending(self):
        while self.todo:
            yield self.todo.pop(0)

    def done(self, row):
        answer = ask(row)
        if len(row) < 2:
            self.todo.append(row + "2")
        return answer


def worklist_of_an_object(rows):
    work = Work(rows)
    out = []
    for row in each(work.pending()):
        out.append(work.done(row))
    return out


@pytest.mark.parametrize(
    "function",
    [
        by_its_method, by_getattr, by_getattr_inside, by_partial, worklist, worklist_of_the_module,
        worklist_of_an_object,
    ],
)  # fmt: skip
def test_what_a_loop_goes_through_and_its_iterations_change_is_gone_through_line_by_line(function):
    compared(lambda: (flow(function), (["a", "b", "c", "d"],)), 1)


def test_a_generator_that_reads_what_nobody_changes_holds_up_no_iteration():
    def main(rows):
        def given():
            yield from rows

        return [ask(row) for row in each(given())]

    sequential, lanes = compared(lambda: (flow(main), (["a", "b", "c", "d"],)), 1)
    assert lanes.duration < sequential.duration
