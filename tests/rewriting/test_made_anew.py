"""Modules, functions and classes that are made anew are freed, whatever flows did with the old ones."""

from __future__ import annotations

import ast
import gc
import importlib
import linecache
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import FunctionType
from typing import Any
from unittest.mock import patch
from weakref import ref

import pytest

from apxm.effects.roles import RoleOf, Summary
from apxm.effects.summaries import summary_of
from apxm.explaining.explanation import Given
from apxm.explaining.files import explained_file, explained_flow
from apxm.flows.flow import marked
from apxm.flows.twins import TWINS
from apxm.rewriting import twins
from apxm.rewriting.sources import is_rewritten, tree_of
from apxm.rewriting.targets import Targets
from tests.lanes.comparing import ran
from tests.rewriting.test_same import loaded

SECOND = 1_000_000_000
ROWS = ["a", "b", "a"]
HEAD = """
import functools
from contextlib import contextmanager
from dataclasses import dataclass
from apxm import ask, each, flow, pure, step, tool
"""
MAIN = """
@flow
def main(rows):
    out = []
    for row in each(rows):
        out.append(helper(row))
    return out
"""
KINDS = {
    "a function": "TOTAL = []\n\ndef helper(row):\n    TOTAL.append(row)\n    return ask(row) + str(len(TOTAL))\n",
    "a closure": """
    def counting():
        count = 0
        def counted(row):
            nonlocal count
            count += 1
            return ask(row) + str(count)
        return counted
    helper = counting()
    """,
    "decorated functions": """
    COUNTS = {}
    def counted(function):
        @functools.wraps(function)
        def wrapper(*given):
            COUNTS[function.__name__] = COUNTS.get(function.__name__, 0) + 1
            return function(*given)
        return wrapper
    @counted
    def once(row):
        return ask(row)
    @functools.lru_cache
    def known(row):
        return ask(row)
    @contextmanager
    def noted(row):
        COUNTS[row] = 1
        yield
    @pure
    def lower(row):
        return row.lower()
    @step
    def stepping(row):
        return ask(row)
    def helper(row):
        with noted(row):
            return once(row) + known(row) + lower(row) + stepping(row) + str(COUNTS)
    """,
    "a generator": """
    SEEN = []
    def parts(row):
        for k in range(2):
            SEEN.append(k)
            yield ask(row + str(k))
    def helper(row):
        return [part + str(len(SEEN)) for part in parts(row)]
    """,
    "a class": """
    class Base:
        count = 0
        def __init__(self, text):
            self.text, self.seen = text, []
        def __eq__(self, other):
            self.seen.append(other)
            return ask(self.text) == other
        __hash__ = None
        def __lt__(self, other):
            self.seen.append(other)
            return ask(self.text) < ask(other.text)
        def __str__(self):
            self.seen.append(1)
            return self.text
        @property
        def length(self):
            self.seen.append(2)
            return len(ask(self.text))
        @length.setter
        def length(self, value):
            self.seen.append(value)
        @functools.cached_property
        def once(self):
            self.seen.append(3)
            return ask(self.text)
        @classmethod
        def made(cls, text):
            cls.count += 1
            return cls(text)
        @staticmethod
        def asked(text):
            return ask(text)
        def said(self):
            return ask(self.text)
    class Derived(Base):
        def said(self):
            return super().said() + self.asked(self.text)
    BOX = Derived("box")
    def helper(row):
        one, other = Derived.made(row), Base(row)
        BOX.length = len(row)
        return [one == other, sorted([one, other])[0].text, f"{one}{BOX}", BOX.length, one.once, one.said()]
    """,
    "objects without attributes of their own": """
    class Slotted:
        __slots__ = ("text", "seen")
        def __init__(self, text):
            self.text, self.seen = text, []
        def __call__(self, row):
            self.seen.append(row)
            return ask(self.text + row)
    HOOKS = [Slotted("x"), str.upper, functools.partial(ask, system="short"), len, Slotted("y").__call__]
    def helper(row):
        return [str(hook(row)) for hook in HOOKS]
    """,
    "functions that only a run knows": """
    HOOKS = {}
    LOG = []
    def hook(function):
        HOOKS[function.__name__] = function
        return function
    @hook
    def first(row):
        LOG.append(row)
        return ask(row)
    @hook
    def second(row):
        return ask(row) + str(len(LOG))
    def helper(row):
        return [function(row) for function in HOOKS.values()] + list(map(lambda text: ask(text), [row]))
    """,
    "a tool": """
    @dataclass
    class Wanted:
        text: str
    LOG = []
    @tool
    def look(text: str) -> str:
        LOG.append(text)
        return ask(text)
    class Owner:
        def search(self, text: str) -> str:
            return ask(text)
    OWNER = Owner()
    def helper(row):
        return ask(row, tools=[look]) + ask(row, tools=[OWNER.search, look])
    """,
}  # fmt: skip


def source_of_kind(kind: str) -> str:
    return HEAD + dedent(KINDS[kind]) + MAIN


def parts_of(names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a module made, with the twins of its functions and the code of these."""
    for name, value in names.items():
        if getattr(type(value), "__module__", "") == names["__name__"] and hasattr(value, "__weakref__"):
            yield name, value
        for inner in (value, getattr(value, "function", None), getattr(value, "__wrapped__", None)):
            if isinstance(inner, FunctionType | type) and inner.__module__ == names["__name__"]:
                yield name, inner
                methods = list(vars(inner).items()) if isinstance(inner, type) else []
                for inside, each in [(name, inner), *((f"{name}.{inside}", each) for inside, each in methods)]:
                    if isinstance(each, FunctionType):
                        yield inside, each
                        twin = TWINS.of(each)
                        if isinstance(twin, FunctionType) and is_rewritten(twin.__code__):
                            yield f"the twin of {inside}", twin
                            yield f"the code of the twin of {inside}", twin.__code__


def left(refs: list[tuple[str, ref[Any]]]) -> list[str]:
    """What of it is there though nobody has it."""
    gc.collect()  # the runs
    gc.collect()  # what was kept of these
    return [name for name, each in refs if each() is not None]


def refs_to(names: dict[str, Any]) -> list[tuple[str, ref[Any]]]:
    found = [(name, ref(each)) for name, each in parts_of(names)]
    assert any(name.startswith("the code of the twin") for name, _ in found)
    return found


def run(names: dict[str, Any]) -> object:
    seen, _ = ran(lambda: names["main"].lanes(ROWS), lambda: SECOND)
    assert not seen.raised
    return seen.value


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_module_of_which_a_flow_ran_is_freed(kind: str, times: int) -> None:
    def used() -> list[tuple[str, ref[Any]]]:
        names = loaded(source_of_kind(kind), "anew")
        for _ in range(times):
            assert run(names)
        return refs_to(names)

    assert left(used()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_so_is_one_that_is_explained(kind: str) -> None:
    def used() -> list[tuple[str, ref[Any]]]:
        names = loaded(source_of_kind(kind), "anew")
        explained_flow(names["main"].function, TWINS, Given())
        explained_file("/drawn/anew.py", source_of_kind(kind), TWINS, marked, Given())
        return [(name, ref(each)) for name, each in parts_of(names)]

    assert left(used()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_so_is_a_module_with_helpers_of_another_one_that_stays(kind: str) -> None:
    more = "        hook = HOOKS[-1]\n        out.append(hook(row))\n    return"
    here = loaded(f"{HEAD}HOOKS = []\n{MAIN}".replace("    return", more), "stays")

    def used() -> list[tuple[str, ref[Any]]]:
        helpers = loaded(source_of_kind(kind), "helpers")
        here["helper"] = helpers["helper"]
        here["HOOKS"].append(helpers["helper"])
        assert run(here)
        del here["helper"]
        here["HOOKS"].clear()
        return refs_to(helpers)

    refs = used()
    if kind == "a class":  # what is known of the flow that stays names special methods
        TWINS.forget()  # as the next flow that is made does
    assert left(refs) == []


def test_functions_that_a_flow_is_given_are_freed() -> None:
    names = loaded(HEAD + "@flow\ndef main(rows, hook):\n    return [hook(row) for row in each(rows)]\n", "stays")
    refs: list[tuple[str, ref[Any]]] = []

    def used(k: int) -> None:
        given = loaded(HEAD + dedent(KINDS["a class"]), f"given_{k}")
        seen, _ = ran(lambda: names["main"].lanes(ROWS, given["helper"]), lambda: SECOND)
        assert not seen.raised
        refs.extend(refs_to(given))

    for k in range(2):
        used(k)
    assert left(refs) == []


def test_a_function_that_a_helper_makes_goes_as_soon_as_nobody_has_it() -> None:
    source = """
    import weakref
    MADE = weakref.WeakSet()
    def helper(row):
        def inner(text):
            return ask(text) + row
        MADE.add(inner)
        return "".join(map(inner, [row]))
    """
    names = loaded(HEAD + dedent(source) + MAIN, "anew")
    gc.disable()
    try:
        assert run(names)
        assert len(names["MADE"]) == 0
    finally:
        gc.enable()


def test_a_class_that_is_made_anew_of_the_same_function_is_freed() -> None:
    source = """
    SEEN = []
    def equal(self, other):
        SEEN.append(other)
        return ask("equal") == other
    def made():
        global Made
        Made = type("Made", (), {"__eq__": equal, "__hash__": None, "length": property(equal_to)})
    def equal_to(self):
        SEEN.append(1)
        return ask("length")
    def helper(row):
        return [Made() == row, Made().length]
    """
    names = loaded(HEAD + dedent(source) + MAIN, "anew")
    refs: list[tuple[str, ref[Any]]] = []
    for k in range(3):
        names["made"]()
        assert run(names)
        refs.append((f"the class {k}", ref(names["Made"])))
        TWINS.forget()
    assert left(refs) == ["the class 2"]


def test_what_a_cell_of_a_notebook_made_is_freed_when_it_runs_again() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}

    def cell(k: int) -> None:
        text, file = source_of_kind("a class"), f"<cell-{k}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        exec(compile(text, file, "exec"), names)

    def used() -> list[tuple[str, ref[Any]]]:
        cell(0)
        with patch.dict(sys.modules, {"__main__": type(sys)("__main__")}):
            assert run(names)
            return refs_to(names)

    refs = used()
    cell(1)
    assert left(refs) == []
    assert run(names)


def test_what_a_module_had_before_it_was_reloaded_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "made_anew.py"
    file.write_text(source_of_kind("a class"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("made_anew")
    try:
        before = run(vars(module))
        refs = refs_to(vars(module))
        importlib.reload(module)
        assert left(refs) == []
        assert run(vars(module)) == before
        refs = refs_to(vars(module))
        del sys.modules["made_anew"], module
        assert left(refs) == []
    finally:
        sys.modules.pop("made_anew", None)


def test_flows_in_threads_leave_nothing() -> None:
    values: list[object] = []

    def used() -> list[tuple[str, ref[Any]]]:
        every = [loaded(source_of_kind("a function"), "one"), *[loaded(source_of_kind("a class"), "other")] * 3]
        threads = [threading.Thread(target=lambda each: values.append(run(each)), args=(names,)) for names in every]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [each for names in every for each in refs_to(names)]

    refs = used()
    assert len(values) == 4
    assert left(refs) == []


def test_a_thread_goes_by_nothing_that_another_one_knows_by_half(monkeypatch: pytest.MonkeyPatch) -> None:
    names = loaded(source_of_kind("a function"), "anew")
    begun, may_go_on = threading.Event(), threading.Event()
    found: list[object] = []

    def slowly(function: ast.FunctionDef, role_of: RoleOf) -> Summary:
        if threading.current_thread() is other:
            begun.set()
            assert may_go_on.wait(60)
        return summary_of(function, role_of)

    monkeypatch.setattr(twins, "summary_of", slowly)
    other = threading.Thread(target=lambda: found.append(TWINS.summary_of(names["helper"])))
    other.start()
    assert begun.wait(60)
    here = TWINS.summary_of(names["helper"])
    may_go_on.set()
    other.join()
    assert here is not None
    assert here.changes == {":TOTAL"}
    assert found == [here]


def test_a_class_that_is_asked_for_is_freed() -> None:
    source = HEAD + dedent("""
    @dataclass
    class Wanted:
        text: str
        def shown(self):
            return helper(self.text)
    def helper(row):
        return row
    @flow
    def main():
        return [ask("x", schema=Wanted).shown(), ask("y", schema=list[Wanted])]
    """)

    def used() -> list[tuple[str, ref[Any]]]:
        names = loaded(source, "anew")
        with patch.dict(sys.modules, {"anew": type(sys)("anew")}):
            vars(sys.modules["anew"]).update(names)
            assert names["main"].using(backend="simulated", latency="constant:1", journal=False)()
        return refs_to(names)

    assert left(used()) == []


def test_a_run_leaves_no_objects() -> None:
    """Each of them is as the one before it."""
    names = loaded(source_of_kind("a class"), "anew")

    def objects(runs: int) -> int:
        for _ in range(runs):
            run(names)
        gc.collect()
        return len(gc.get_objects())

    objects(20)
    assert abs(objects(100) - objects(1)) < 100


# --- files


def test_a_file_is_parsed_once_as_long_as_there_is_a_function_of_it() -> None:
    names = loaded("def helper(row):\n    return row\n", "parsed")
    function, file = names["helper"], "/drawn/parsed.py"
    tree = ref(tree_of(file, names, function))
    for k in range(100):
        tree_of(f"/drawn/other_{k}.py", loaded(f"def other():\n    return {k}\n", f"other_{k}"))
    gc.collect()
    assert tree() is not None
    assert tree() is tree_of(file, names)
    del function
    names.clear()
    gc.collect()
    assert tree() is None


def test_a_file_that_is_read_again_is_parsed_where_it_is_another_one() -> None:
    source, file = "def helper(row):\n    return row\n", "/drawn/again.py"
    names = loaded(source, "again")
    tree = tree_of(file, names)
    assert tree_of(file, loaded(source, "again")) is tree
    edited = tree_of(file, loaded(f"{source}\nLATER = 1\n", "again"))
    assert (len(tree.body), len(edited.body)) == (1, 2)


def test_code_of_the_users_that_is_equal_to_that_of_a_twin_is_none() -> None:
    names = loaded(HEAD + "def helper(row):\n    return row\n" + MAIN, "anew")
    run(names)
    twin = TWINS.of(names["helper"])
    assert isinstance(twin, FunctionType)
    assert is_rewritten(twin.__code__)
    assert not is_rewritten(names["helper"].__code__)
    assert TWINS.of(twin) is twin


def test_targets_know_no_more_code_than_there_is_room_for() -> None:
    targets = Targets({}, TWINS._parts)
    code = compile("def f(): ...", "/drawn/f.py", "exec").co_consts[0]
    for _ in range(5000):
        assert not targets.include(code.replace(), None)
    assert len(targets._included) < 4097


def test_a_function_in_a_flow_is_pickled_without_what_only_its_run_knows() -> None:
    assert not isinstance(pickle.loads(pickle.dumps(Targets({}, TWINS._parts))), Targets)
