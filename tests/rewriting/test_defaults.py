"""Loops that meet in what containers and caches make where it is asked for."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import collections
import functools
from collections import defaultdict
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from tests.lanes.comparing import compared, loops_in

MADE = []


def made():
    MADE.append(len(MADE))
    return len(MADE)


def numbered(rows):
    MADE.clear()
    ids = defaultdict(made)
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(f"{ids[a]} {a}")
    return out, dict(ids), MADE[:]


def numbered_by_length(rows):
    ids = defaultdict(lambda: len(ids))
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(ids[a])
    return out, dict(ids)


def numbered_and_read(rows):
    MADE.clear()
    ids = collections.defaultdict(made)
    out = []
    for row in each(rows):
        n = len(ids)
        a = ask(f"{row} {n} {len(MADE)}")
        out.append(ids[a])
    return out, dict(ids), MADE[:]


IDS = defaultdict(made)


def numbered_in_module(rows):
    MADE.clear()
    IDS.clear()
    out = []
    for row in each(rows):
        n = len(IDS)
        a = ask(f"{row} {n}")
        out.append(IDS[a])
    return out, dict(IDS), MADE[:]


class Index:
    def __init__(self):
        self.ids = defaultdict(made)
        self.groups = defaultdict(list)

    def number(self, key):
        return self.ids[key]


def numbered_in_object(rows):
    MADE.clear()
    index = Index()
    out = []
    for row in each(rows):
        n = len(index.ids)
        a = ask(f"{row} {n}")
        out.append(index.number(a))
    return out, dict(index.ids), MADE[:]


def numbered_own(rows):
    MADE.clear()
    out = []
    for row in each(rows):
        ids = defaultdict(made)
        a = ask(row)
        out.append((ids[a], ids["x"], ids[a]))
    return out, MADE[:]


def keys_in_order(rows):
    groups = defaultdict(list)
    for row in each(rows):
        a = ask(row)
        if not groups[a]:
            groups[a].append(row)
    return list(groups.items())


def keys_of_reads(rows):
    groups = defaultdict(list)
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(len(groups[a]))
    return out, list(groups)


def grouped(rows):
    groups = defaultdict(list)
    for row in each(rows):
        a = ask(row)
        groups[row].append(ask(a))
    return groups


def counted(rows):
    counts = defaultdict(int)
    for row in each(rows):
        a = ask(row)
        counts[row] += len(ask(a))
    return counts


def set_default(rows):
    MADE.clear()
    table = {}
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(table.setdefault(row, made()))
        out.append(ask(f"{a} {len(table)}"))
    return out, table, MADE[:]


CACHED = []


@functools.lru_cache(maxsize=None)
def cached(key):
    CACHED.append(key)
    return ask(key)


def cache(rows):
    cached.cache_clear()
    CACHED.clear()
    out = []
    for row in each(rows):
        a = ask(row)
        out.append(cached(row))
        out.append(ask(f"{a} {len(CACHED)}"))
    return out, CACHED[:], cached.cache_info().hits


def cache_read_early(rows):
    cached.cache_clear()
    CACHED.clear()
    out = []
    for row in each(rows):
        n = len(CACHED)
        a = ask(f"{row} {n}")
        out.append(cached(a))
    return out, CACHED[:]


class Getting:
    def __init__(self):
        self.calls = []

    @functools.lru_cache
    def get(self, key):
        self.calls.append(key)
        return key


def cached_method(rows):
    getting = Getting()
    out = []
    for row in each(rows):
        a = ask(f"{row} {len(getting.calls)}")
        out.append(getting.get(a))
        out.append(ask(f"{row} {len(getting.calls)}"))
    return out, getting.calls


def cached_method_early(rows):
    getting = Getting()
    seen = []
    for row in each(rows):
        getting.get(row)
        n = len(seen)
        a = ask(f"{row} {n}")
        seen.append(a)
    return seen, getting.calls


LOOPS = loops_in(globals())
OVERLAPPING = {"grouped", "counted"}


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_no_one_sees_a_difference(loop: Any, seed: int) -> None:
    made = flow(loop)
    alone, lanes = compared(lambda: (made, (["xxxx", "y", "zz", "xxxx"],)), seed)
    if loop.__name__ in OVERLAPPING:
        assert lanes.duration < alone.duration * 0.7
