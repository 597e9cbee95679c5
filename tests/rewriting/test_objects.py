"""Loops whose iterations meet in objects, in files and in functions: nobody sees a difference, however it is hidden."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import collections
import copy
import csv
import enum
import functools
import io
import itertools
import pathlib
import random
import string
import tempfile
import time
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.flow import flow
from apxm.flows.each import each
from tests.lanes.comparing import compared, loops_in


class Cached:
    def __init__(self):
        self.cache = {}
        self.hits = 0

    def get(self, q):
        if q in self.cache:
            self.hits += 1
            return self.cache[q]
        self.cache[q] = ask(q)
        return self.cache[q]


def selfcache(rows):
    c = Cached()
    return [c.get(r) for r in each(rows)], c.hits


class Hist:
    def __init__(self):
        self.msgs = []

    def add(self, m):
        self.msgs.append(m)

    def text(self):
        return " ".join(self.msgs)


class Chat:
    def __init__(self):
        self.h = Hist()

    def say(self, m):
        self.h.add(m)
        a = ask(self.h.text())
        self.h.add(a)
        return a


def chat(rows):
    c = Chat()
    out = []
    for r in each(rows):
        out.append(c.say(r))
    return out, c.h.msgs


class Bag:
    def __init__(self):
        self.items = []

    def put(self, x):
        self.items.append(x)

    def __len__(self):
        return len(self.items)

    def __iter__(self):
        return iter(self.items)

    def __getitem__(self, i):
        return self.items[i]

    def __contains__(self, x):
        return x in self.items

    def __str__(self):
        return "bag" + str(len(self.items))


def bag_len(rows):
    b = Bag()
    out = []
    for r in each(rows):
        n = len(b)
        a = ask(f"{r} {n}")
        b.put(a)
        out.append(a)
    return out


def bag_str(rows):
    b = Bag()
    out = []
    for r in each(rows):
        a = ask(f"{r} {b}")
        b.put(a)
        out.append(a)
    return out


def bag_in(rows):
    b = Bag()
    out = []
    for r in each(rows):
        if r in b:
            out.append("dup")
            continue
        a = ask(r)
        b.put(r)
        out.append(a)
    return out


def bag_iter(rows):
    b = Bag()
    for r in each(rows):
        prev = [x for x in b]
        b.put(ask(r + "".join(prev)))
    return list(b)


STATE = {"last": ""}


def state():
    return STATE


def viahelper(rows):
    STATE["last"] = ""
    out = []
    for r in each(rows):
        a = ask(r + state()["last"])
        state()["last"] = a
        out.append(a)
    return out


class Counter2:
    total = 0

    @classmethod
    def up(cls):
        cls.total += 1
        return cls.total

    @staticmethod
    def now():
        return Counter2.total


def classcount(rows):
    Counter2.total = 0
    out = []
    for r in each(rows):
        a = ask(r)
        out.append((a, Counter2.up()))
        out.append(ask(f"{r} {Counter2.now()}"))
    return out


def attralias(rows):
    h = Hist()
    msgs = h.msgs
    out = []
    for r in each(rows):
        a = ask(r + str(len(msgs)))
        h.add(a)
        out.append(a)
    return out


class Prop:
    def __init__(self):
        self._v = ""

    @property
    def v(self):
        return self._v

    @v.setter
    def v(self, x):
        self._v = x


def propset(rows):
    p = Prop()
    out = []
    for r in each(rows):
        a = ask(r + p.v)
        p.v = a
        out.append(a)
    return out


def propset2(rows):
    p = Prop()
    out = []
    for r in each(rows):
        a = ask(r + p._v)
        p.v = a
        out.append(a)
    return out


def setget(rows):
    p = Prop()
    out = []
    for r in each(rows):
        a = ask(r + getattr(p, "_v"))
        setattr(p, "_v", a)
        out.append(a)
    return out


class Node:
    def __init__(self, n, parent=None):
        self.n = n
        self.parent = parent
        self.count = 0


def sharedchild(rows):
    root = Node("root")
    nodes = [Node(r, root) for r in rows]
    out = []
    for n in each(nodes):
        a = ask(n.n + str(n.parent.count))
        n.parent.count += 1
        out.append(a)
    return out, root.count


def sharedchild2(rows):
    root = Node("root")
    nodes = [Node(r, root) for r in rows]
    for n in each(nodes):
        a = ask(n.n)
        n.parent.count += 1
        n.count = len(a)
    return root.count, [n.count for n in nodes]


def twice(rows):
    d = {"n": 0}
    for x in each([d, d, {"n": 5}]):
        a = ask(str(x["n"]))
        x["n"] += len(a)
    return d


def caught(rows):
    items = [{"r": r} for r in rows]
    try:
        for i, x in enumerate(each(items)):
            x["a"] = ask(x["r"])
            if i == 1:
                raise ValueError("x")
            x["b"] = ask(x["a"])
    except ValueError:
        pass
    return items


def caughtobj(rows):
    items = [Node(r) for r in rows]
    try:
        for i, x in enumerate(each(items)):
            x.count = len(ask(x.n))
            x.extra = 1
            if i == 1:
                raise ValueError("x")
    except ValueError:
        pass
    return [vars(i) for i in items]


def filecount(rows):
    p = pathlib.Path(tempfile.mkdtemp()) / "x.txt"
    out = []
    for r in each(rows):
        a = ask(r)
        with p.open("a") as f:
            f.write(a + "\n")
        n = len(p.read_text().splitlines())
        out.append(ask(f"{r} {n}"))
    return out


def fnparam(rows):
    seen = []

    def note(x):
        seen.append(x)
        return len(seen)

    def apply(f, x):
        return f(x)

    out = []
    for r in each(rows):
        a = ask(r)
        out.append(ask(f"{apply(note, a)} {r}"))
    return out


G = []


def gnote(x):
    G.append(x)
    return len(G)


def gapply(f, x):
    return f(x)


def fnparam2(rows):
    G.clear()
    out = []
    for r in each(rows):
        n = len(G)
        a = ask(r + str(n))
        out.append(ask(f"{gapply(gnote, a)} {r}"))
    return out


class It:
    def __init__(self):
        self.it = itertools.count()

    def nxt(self):
        return next(self.it)


def attriter(rows):
    s = It()
    out = []
    for r in each(rows):
        a = ask(r + str(s.nxt()))
        out.append((a, s.nxt()))
    return out


def nestedobj(rows):
    out = []
    for r in each(rows):
        h = Hist()
        for k in each(range(3)):
            h.add(ask(f"{r}{k}"))
        out.append(ask(h.text()))
    return out


def defread(rows):
    c = collections.Counter()
    groups = collections.defaultdict(list)
    out = []
    for r in each(rows):
        a = ask(r)
        c[a[:1]] = c.get(a[:1], 0) + 1
        groups[a[:1]].append(a)
        groups.setdefault(r, []).append(a)
    return c, dict(groups)


def defread2(rows):
    groups = collections.defaultdict(list)
    out = []
    for r in each(rows):
        a = ask(r)
        groups["k"].append(a)
        out.append(len(groups["k"]))
        out.append(ask(r + str(len(groups))))
    return out, groups


def mutdef(x, acc=[]):
    acc.append(x)
    return list(acc)


def mutabledefault(rows):
    mutdef.__defaults__[0].clear()
    out = []
    for r in each(rows):
        a = ask(r)
        out.append(ask(str(mutdef(a))))
    return out


class Tree:
    made = 0

    def __init__(self, depth):
        Tree.made += 1
        self.kids = [Tree(depth - 1) for _ in range(2)] if depth else []
        self.text = ""

    def walk(self, r):
        self.text = ask(f"{r} {len(self.kids)} {Tree.made}")
        for k in self.kids:
            k.walk(r)
        return self.text + "".join(k.text for k in self.kids)


def recursion(rows):
    Tree.made = 0
    return [Tree(1).walk(r) for r in each(rows)], Tree.made


class Base:
    def __init__(self):
        self.log = []

    def go(self, r):
        a = ask(r + self.pre())
        self.log.append(a)
        return a

    def pre(self):
        return ""


class Sub(Base):
    def pre(self):
        return str(len(self.log))

    def go(self, r):
        return super().go(r) + "!"


def overriding(rows):
    s = Sub()
    return [s.go(r) for r in each(rows)], s.log


def passedobj(rows, b=None):
    b = Sub()

    def run(obj, r):
        return obj.go(r)

    return [run(b, r) for r in each(rows)], b.log


def trystate(rows):
    h = Hist()
    for r in each(rows):
        try:
            a = ask(r)
            h.add(a)
            int("x" if len(h.msgs) % 2 else "1")
        except ValueError:
            h.add("bad")
            ask(h.text())
    return h.msgs


def dictobj(rows):
    d = {r: Node(r) for r in rows}
    for r in each(rows):
        a = ask(r + str(d["x" if "x" in d else r].count))
        d[r].count += len(a)
    return {k: v.count for k, v in d.items()}


class Call:
    def __init__(self):
        self.n = 0

    def __call__(self, x):
        self.n += 1
        return ask(f"{x} {self.n}")


def callobj(rows):
    c = Call()
    return [c(r) for r in each(rows)], c.n


class Acc:
    def __init__(self):
        self.v = []

    def __iadd__(self, x):
        self.v.append(x)
        return self

    def __lshift__(self, x):
        self.v.append(x)
        return self


def iadd(rows):
    acc = Acc()
    for r in each(rows):
        acc += ask(r)
    return acc.v


N = 0


def bump():
    global N
    N += 1
    return N


def headbump(rows):
    global N
    N = 0
    return [ask(f"{r} {bump()}") for r in each(rows)], N


def latebump(rows):
    global N
    N = 0
    out = []
    for r in each(rows):
        a = ask(r)
        out.append(ask(f"{a} {bump()}"))
    return out


def wrapped(rows):
    it = iter(rows)
    out = []
    for i, r in enumerate(each(it)):
        out.append((i, ask(r)))
    return out


def redir(rows):
    b = io.StringIO()
    for r in each(rows):
        print(r, ask(r), file=b)
    return b.getvalue()


def ownlist(rows):
    out = []
    for r in each(rows):
        agents = [Hist() for _ in range(2)]
        for rnd in range(2):
            for g in agents:
                g.add(ask(r + g.text() + agents[0].text()))
        out.append([g.msgs for g in agents])
    return out


class Stats:
    def __init__(self):
        self.n = 0
        self.seen = set()

    def hit(self, r):
        self.n += 1
        self.seen.add(r)

    def dump(self):
        return f"{self.n} {sorted(self.seen)}"


def stats(rows):
    s = Stats()
    out = []
    for r in each(rows):
        a = ask(r)
        s.hit(a)
        ask(a)
        print(s.dump())
    return out, s.dump()


def statsend(rows):
    s = Stats()
    for r in each(rows):
        a = ask(r)
        s.hit(a)
        ask(a)
    return s.dump()


def statsjson(rows):
    s = Stats()
    out = []
    for r in each(rows):
        a = ask(r)
        s.hit(a)
        ask(a)
        out.append(str(sorted(vars(s).items(), key=str)))
    return out


def statscopy(rows):
    s = Stats()
    out = []
    for r in each(rows):
        a = ask(r)
        s.hit(a)
        ask(a)
        out.append(copy.copy(s).n)
    return out


class Mode(enum.Enum):
    A = 1
    B = 2


def enums(rows):
    out = []
    for i, r in enumerate(each(rows)):
        m = Mode.A if i % 2 else Mode.B
        out.append((m.name, ask(r + m.name)))
    return out


def sortedkey(rows):
    seen = {}

    def rank(x):
        return seen.get(x, 0)

    out = []
    for r in each(rows):
        a = ask(r + "".join(sorted(rows, key=rank)))
        seen[r] = len(a) + seen.get(r, 0)
        out.append(a)
    return out


def genexp(rows):
    out = []
    for r in each(rows):
        out.append(ask(r))
        total = sum(len(x) for x in out)
        out.append(ask(f"{r}{total}"))
    return out


def chainedcalls(rows):
    log = []

    class L:
        def a(self, x):
            log.append(x)
            return self

        def b(self):
            return len(log)

    l = L()
    out = []
    for r in each(rows):
        t = ask(r)
        out.append(ask(f"{r} {l.a(t).b()}"))
    return out


def partialfn(rows):
    log = []

    def add(l, x):
        l.append(x)
        return len(l)

    f = functools.partial(add, log)
    out = []
    for r in each(rows):
        t = ask(r)
        out.append(ask(f"{f(t)}{r}"))
    return out


def boundmethod(rows):
    log = []
    put = log.append
    out = []
    for r in each(rows):
        t = ask(r)
        put(t)
        out.append(ask(f"{len(log)}{r}"))
    return out


def boundpop(rows):
    left = list("abcdefgh")
    take = left.pop
    out = []
    for r in each(rows):
        t = ask(r)
        out.append((take(), t))
    return out


def slices(rows):
    log = []
    for r in each(rows):
        t = ask(r + str(log[-1:]))
        log[len(log) :] = [t]
    return log


def matching(rows):
    last = None
    out = []
    for r in each(rows):
        match ask(r).split():
            case [n, *rest] if int(n) > 100:
                out.append(n)
            case [n, h]:
                out.append(h)
        out.append(ask(out[-1] if False else r))
    return out


def finallys(rows):
    h = []
    for r in each(rows):
        try:
            t = ask(r)
            if len(t) % 2:
                continue
            h.append(ask(t))
        finally:
            h.append("f" + str(len(h)))
    return h


def forelse(rows):
    out = []
    for r in each(rows):
        for k in range(3):
            t = ask(f"{r}{k}")
            if t.endswith("a"):
                break
        else:
            out.append("none")
        out.append(k)
    return out


def innerbreak(rows):
    out = []
    for r in each(rows):
        for k in each(range(4)):
            t = ask(f"{r}{k}")
            if int(t.split()[0]) % 3 == 0:
                out.append((r, k))
                break
        out.append(ask(str(len(out))))
    return out


def csvs(rows):
    b = io.StringIO()
    w = csv.writer(b)
    for r in each(rows):
        w.writerow([r, ask(r)])
        ask(r + "again")
    return b.getvalue()


def tmpl(rows):
    t = string.Template("q $x")
    out = []
    for r in each(rows):
        out.append(ask(t.substitute(x=r)))
    return out


class Rate:
    def __init__(self):
        self.t = []

    def wait(self):
        self.t.append(1)
        if len(self.t) % 3 == 0:
            time.sleep(0.1)


def rate(rows):
    x = Rate()
    out = []
    for r in each(rows):
        x.wait()
        out.append(ask(r))
    return out, len(x.t)


class Ctx:
    def __init__(self):
        self.depth = 0
        self.log = []

    def __enter__(self):
        self.depth += 1
        return self

    def __exit__(self, *a):
        self.log.append(self.depth)
        self.depth -= 1


def ctx(rows):
    c = Ctx()
    out = []
    for r in each(rows):
        with c:
            out.append((ask(r), c.depth))
    return out, c.log


class Lazy:
    @functools.cached_property
    def v(self):
        return ask("lazy")


def lazy(rows):
    l = Lazy()
    return [ask(r + l.v) for r in each(rows)]


class Desc:
    def __get__(self, o, t):
        return len(o.items)


class HasDesc:
    n = Desc()

    def __init__(self):
        self.items = []


def desc(rows):
    h = HasDesc()
    out = []
    for r in each(rows):
        out.append(ask(r + str(h.n)))
        h.items.append(out[-1])
    return out


class GA:
    def __init__(self):
        self.__dict__["d"] = {}

    def __getattr__(self, n):
        return self.__dict__["d"].get(n, "")

    def __setattr__(self, n, v):
        self.__dict__["d"][n] = v


def dynattr(rows):
    g = GA()
    out = []
    for r in each(rows):
        a = ask(r + g.last)
        g.last = a
        out.append(a)
    return out


def vararg(rows):
    log = []

    def note(*xs, **kw):
        log.extend(xs)
        log.extend(kw.values())
        return len(log)

    out = []
    for r in each(rows):
        a = ask(r)
        n = note(a, k=r)
        out.append(ask(f"{n}"))
    return out


H = []


def hnote(*xs, **kw):
    H.extend(xs)
    H.extend(kw.values())
    return len(H)


def vararg2(rows):
    H.clear()
    out = []
    for r in each(rows):
        a = ask(r)
        n = hnote(a, k=r)
        out.append(ask(f"{n}"))
    return out


def into(target, x):
    target.append(x)


def kwtarget(rows):
    log = []
    out = []
    for r in each(rows):
        a = ask(r + str(len(log)))
        into(x=a, target=log)
        out.append(a)
    return out


def spread(rows):
    log = []
    out = []
    args = (log,)
    for r in each(rows):
        a = ask(r + str(len(log)))
        into(*args, a)
        out.append(a)
    return out


def containerof(rows):
    log = []
    box = {"l": log}
    out = []
    for r in each(rows):
        a = ask(r + str(len(log)))
        box["l"].append(a)
        out.append(a)
    return out


def containerof2(rows):
    log = []
    box = [log]
    out = []
    for r in each(rows):
        a = ask(r + str(len(log)))
        for l in box:
            l.append(a)
        out.append(a)
    return out


def seeds(rows):
    random.seed(3)
    out = []
    for r in each(rows):
        k = random.randrange(100)
        a = ask(f"{r}{k}")
        out.append((a, random.choice("abc")))
    return out, random.random()


def ownrng(rows):
    rng = random.Random(4)
    out = []
    for r in each(rows):
        a = ask(f"{r}{rng.random()}")
        out.append((a, rng.random()))
    return out


def itemrng(rows):
    out = []
    for i, r in enumerate(each(rows)):
        rng = random.Random(i)
        a = ask(f"{r}{rng.random()}")
        out.append((a, rng.random()))
    return out


def dels(rows):
    d = {r: 1 for r in rows}
    out = []
    for r in each(rows):
        a = ask(r + str(len(d)))
        d.pop(r, None)
        out.append(a)
    return out, d


def delsitem(rows):
    d = {str(i): 1 for i in range(9)}
    out = []
    for i, r in enumerate(each(rows)):
        a = ask(r)
        del d[str(i)]
        out.append(ask(f"{len(d)}"))
    return out, d


def globalsdict(rows):
    globals()["GG"] = 0
    out = []
    for r in each(rows):
        a = ask(r + str(globals()["GG"]))
        globals()["GG"] += 1
        out.append(a)
    return out


def strio(rows):
    b = io.StringIO()
    out = []
    for r in each(rows):
        out.append(ask(r + b.getvalue()[-3:]))
        b.write(out[-1])
    return out


class Link:
    def __init__(self, v):
        self.v = v
        self.next = None


def linked(rows):
    head = tail = Link("")
    for r in each(rows):
        n = Link(ask(r))
        tail.next = n
        tail = n
    out = []
    x = head.next
    while x:
        out.append(x.v)
        x = x.next
    return out


def counterobj(rows):
    c = itertools.count()
    out = []
    for r in each(rows):
        a = ask(r)
        out.append((next(c), a))
    return out


def deferexc(rows):
    d = {}
    out = []
    for r in each(rows):
        a = ask(r)
        print("a", r)
        d["missing"] += 1
        print("b", r)
        ask("n" + r)
    return out


LOOPS = loops_in(globals())
OVERLAPPING = {"nestedobj", "defread", "iadd", "wrapped", "redir", "statsend"}
"""Those of which each iteration is as good as one call."""


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)
    arguments = (["xxxx", "y", "zz", "xxxx"],)
    alone, lanes = compared(lambda: (made, arguments), seed, may_ask_more=loop.__name__.startswith("caught"))
    if loop.__name__ in OVERLAPPING:
        assert lanes.duration < alone.duration * 0.6
