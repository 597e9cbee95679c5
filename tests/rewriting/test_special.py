"""Loops whose iterations meet in special methods: nobody calls these by name, and nobody sees a difference."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import collections
import functools
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared, loops_in

LOG = []


class Logged:
    """Tells a name of the module of all that is done to it."""

    def __init__(self):
        self.held = {}
        self.n = 0

    def __getitem__(self, key):
        LOG.append("get " + key)
        return self.held.get(key, "")

    def __setitem__(self, key, value):
        LOG.append("set " + key)
        self.held[key] = value

    def __delitem__(self, key):
        LOG.append("del " + key)
        self.held.pop(key, None)

    def __contains__(self, key):
        LOG.append("in " + key)
        return key in self.held

    def __len__(self):
        LOG.append("len")
        return len(self.held)

    def __iter__(self):
        LOG.append("iter")
        return iter(["i"])

    def __str__(self):
        LOG.append("str")
        return "logged"

    def __format__(self, how):
        LOG.append("format")
        return "formatted"

    def __add__(self, other):
        LOG.append("add")
        return f"sum {other}"

    def __radd__(self, other):
        LOG.append("radd")
        return f"{other} sum"

    def __iadd__(self, other):
        LOG.append(f"iadd {other}")
        return self

    def __neg__(self):
        LOG.append("neg")
        return "neg"

    def __eq__(self, other):
        LOG.append("eq")
        return False

    def __lt__(self, other):
        LOG.append("lt")
        return True

    def __hash__(self):
        LOG.append("hash")
        return 7

    def __call__(self, key):
        LOG.append("call " + key)
        return key


class Truth:
    def __bool__(self):
        LOG.append("bool")
        return len(LOG) % 2 == 0


def got(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        a = ask(row + LOG[-1] if LOG else row)
        out.append(thing[a])
    return out, LOG[:]


def set_(rows):
    LOG.clear()
    thing = Logged()
    for row in each(rows):
        thing[row] = ask(f"{row} {len(LOG)}")
    return thing.held, LOG[:]


def deleted(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        a = ask(row)
        del thing[a]
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


def contained(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        a = ask(row)
        if a in thing:
            out.append("in")
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


def measured(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        out.append((len(thing), a))
    return out, LOG[:]


def gone_through(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(LOG)}")
        for part in thing:
            out.append(part + a)
        (first,) = thing
        out.append([*thing, list(thing), first, [x for x in thing], sorted(thing)])
    return out, LOG[:]


def shown(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(LOG)}")
        out.append(f"{thing} {a}")
        out.append(str(thing) + a)
        print(thing, a)
    return out, LOG[:]


def operated(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(thing + a)
        out.append(a + thing)
        out.append(-thing)
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


def augmented(rows):
    LOG.clear()
    thing = Logged()
    for row in each(rows):
        a = ask(f"{row} {len(LOG)}")
        thing += a
    return LOG[:]


def augmented_inside(rows):
    LOG.clear()
    things = {"t": Logged()}
    for row in each(rows):
        a = ask(f"{row} {len(LOG)}")
        things["t"] += a
    return LOG[:]


def compared_(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        out.append(thing == a)
        out.append(thing < a)
        out.append(thing in [a])
    return out, LOG[:]


def hashed(rows):
    LOG.clear()
    thing = Logged()
    out = []
    table = {}
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        out.append(table.get(thing, a))
        out.append(hash(thing))
    return out, LOG[:]


def sorted_(rows):
    LOG.clear()
    things = [Logged(), Logged(), Logged()]
    out = []
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        out.append(len(sorted(things)))
        out.append(ask(f"{row} {len(LOG)} {a}"))
    return out, LOG[:]


def called(rows):
    LOG.clear()
    thing = Logged()
    out = []
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        out.append(thing(a))
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


def asked_for_truth(rows):
    LOG.clear()
    truth = Truth()
    out = []
    for row in each(rows):
        a = ask(row)
        if truth:
            out.append(ask(a))
        out.append("a" if not truth else "b")
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


class Dynamic:
    def __init__(self):
        self.asked = []
        self.values = {}

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        self.asked.append(name)
        return name


class Watched:
    def __init__(self):
        object.__setattr__(self, "seen", [])

    def __setattr__(self, name, value):
        LOG.append((name, value))
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        LOG.append(("del", name))
        object.__delattr__(self, name)


class Every:
    def __init__(self):
        self.x = 1

    def __getattribute__(self, name):
        LOG.append(name)
        return object.__getattribute__(self, name)


def dynamic(rows):
    d = Dynamic()
    out = []
    for row in each(rows):
        n = len(d.asked)
        a = ask(f"{row} {n}")
        out.append(d.found + a)
        out.append(getattr(d, "other"))
    return out, d.asked


def dynamic_alone(rows):
    d = Dynamic()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(getattr(d, a.replace(" ", "x")))
    return out, d.asked


def watched(rows):
    LOG.clear()
    w = Watched()
    out = []
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        w.last = a
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


def watched_alone(rows):
    LOG.clear()
    w = Watched()
    for row in each(rows):
        w.last = ask(row)
    return LOG[:]


def watched_deleted(rows):
    LOG.clear()
    w = Watched()
    for row in each(rows):
        a = ask(f"{row} {len(LOG)}")
        w.last = a
        del w.last
    return LOG[:]


def every(rows):
    LOG.clear()
    e = Every()
    out = []
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        out.append((e.x, a))
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


class Described:
    def __get__(self, thing, owner=None):
        LOG.append("get")
        return 1

    def __set__(self, thing, value):
        LOG.append(("set", value))


class Has:
    field = Described()

    def __init__(self):
        self.reads = 0

    @property
    def counted(self):
        self.reads += 1
        LOG.append(self.reads)
        return self.reads

    @functools.cached_property
    def once(self):
        LOG.append("once")
        return len(LOG)


def described(rows):
    LOG.clear()
    h = Has()
    out = []
    for row in each(rows):
        n = len(LOG)
        a = ask(f"{row} {n}")
        out.append(h.field)
        h.field = a
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


def property_counts(rows):
    LOG.clear()
    h = Has()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(f"{h.counted} {a}")
        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


def property_alone(rows):
    LOG.clear()
    h = Has()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(f"{h.counted} {a}")
    return out, LOG[:], h.reads


def property_got(rows):
    LOG.clear()
    h = Has()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(getattr(h, "counted"))
    return out, LOG[:], h.reads


def kept_property(rows):
    LOG.clear()
    h = Has()
    out = []
    for row in each(rows):
        LOG.append(row)
        a = ask(f"{row} {len(LOG)}")
        LOG.append(a)
        out.append(h.once)
    return out, LOG[:]


def kept_own(rows):
    LOG.clear()
    out = []
    for row in each(rows):
        h = Has()
        a = ask(row)
        LOG.append(a)
        out.append((h.once, h.once))
    return out, LOG[:]


class Registered:
    def __init_subclass__(cls, **named):
        LOG.append(cls.__name__)


class Named:
    def __set_name__(self, owner, name):
        LOG.append(name)


def derived(rows):
    LOG.clear()
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(LOG)}")

        class Derived(Registered):
            part = Named()

        out.append(ask(f"{row} {len(LOG)}"))
    return out, LOG[:]


LOOPS = loops_in(globals())


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)
    compared(lambda: (made, (["xxxx", "y", "zz", "xxxx"],)), seed)


def test_classes_have_their_own_methods_when_no_flow_runs() -> None:
    before = dict(vars(Logged)), dict(vars(Has))
    flow(got).using(backend="simulated", latency="constant:0").run(["a", "b"])
    assert (dict(vars(Logged)), dict(vars(Has))) == before
