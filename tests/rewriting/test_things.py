"""Things that iterations meet in, and who changes them: nobody sees a difference, whatever is kept for a turn."""

# What these functions do is what is tested, so they are written as people write them.
# ruff: noqa

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import itertools
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.lanes.marks import step
from apxm.runtime.trace import Trace
from tests.lanes.comparing import compared


# What is kept for the turn reads what it is given when it was given.


def refilled(rows):
    out = []
    for row in each(rows):
        batch = []
        for word in ask(f"Words of {row}").split():
            batch.append(word)
            if len(batch) == 1:
                out.extend(batch)
                batch.clear()
        out.extend(batch)
    return out


def added_up(rows):
    out = []
    for row in each(rows):
        buffer = [ask(row)]
        out += buffer
        buffer.clear()
    return out


class Log:
    def __init__(self):
        self.lines = []
        self.counts = collections.Counter()
        self.groups = {}


def added_up_in_attribute(rows):
    log = Log()
    for row in each(rows):
        buffer = [ask(row)]
        log.lines += buffer
        log.counts.update(buffer)
        log.groups[row] = log.groups.get(row, []) + buffer
        buffer.append("late")
    return log.lines, log.counts, log.groups


def updated(rows):
    found = {}
    for row in each(rows):
        one = {row: ask(row)}
        found.update(one)
        one[row] = "changed"
    return found


def united(rows):
    seen = set()
    for row in each(rows):
        found = {ask(row)}
        seen |= found
        found.add("z")
    return sorted(seen)


def counted_words(rows):
    counts = collections.Counter()
    for row in each(rows):
        words = ask(row).split()
        counts.update(words)
        words.append("late")
    return counts


def grouped(rows):
    groups = collections.defaultdict(list)
    for row in each(rows):
        words = ask(row).split()
        groups["w"].extend(words)
        words.reverse()
        words.pop()
    return groups


def generated(rows):
    out = []
    for row in each(rows):
        k = ask(row)
        out.extend((w, k) for w in k.split())
        k = "late"
        out.append(k)
    return out


def generated_until_it_fails(rows):
    out = []
    try:
        for row in each(rows):
            words = ask(row).split()
            out.extend(int(word) for word in words)
    except ValueError as error:
        out.append(str(error))
    return out


def sliced(rows):
    out = []
    for row in each(rows):
        buffer = [ask(row)]
        out[len(rows) :] = buffer
        buffer.clear()
    return out


def views(rows):
    seen, out = set(), []
    for row in each(rows):
        found = {ask(row): row}
        seen |= found.keys()
        out += found.values()
        found["late"] = "late"
    return sorted(seen), out


def same_object_is_kept(rows):
    out = []
    for row in each(rows):
        entry = {"row": row}
        out.append(entry)
        entry["answer"] = ask(row)
    return out


class Numbers:
    def __init__(self, start=()):
        self.held = list(start)

    def __iadd__(self, other):
        self.held += other.held
        return self

    def __iter__(self):
        return iter(self.held)


def objects_of_classes(rows):
    total, out = Numbers(), []
    for row in each(rows):
        own = Numbers([ask(row)])
        total += own
        out.extend(own)
        own.held.append("late")
        own.held[0] = "late"
    return total.held, out


# What a tool changes is changed by the iteration whose model calls it.


CART: list[str] = []


def add(text: str) -> str:
    """Adds something."""
    CART.append(text)
    return "added"


TOOLS = [add]


def tools_that_change(rows):
    CART.clear()
    for row in each(rows):
        first = len(CART)
        answer = ask(f"Fill {row}", tools=[add])
        print(row, CART[first:], answer)


def tools_in_a_list_of_the_module(rows):
    CART.clear()
    for row in each(rows):
        if row == "b":
            ask(row)
        else:
            ask(f"Fill {row}", tools=TOOLS)
        print(row, len(CART))


def tools_in_a_list(rows):
    CART.clear()
    tools = [add]
    for row in each(rows):
        first = len(CART)
        ask(f"Fill {row}", tools=tools)
        print(row, CART[first:])


def tools_of_the_function(rows):
    cart = []

    def put(text: str) -> str:
        """Puts something."""
        cart.append(text)
        return "put"

    for row in each(rows):
        first = len(cart)
        ask(f"Fill {row}", tools=[put])
        print(row, cart[first:])


def buying(row):
    first = len(CART)
    ask(f"Fill {row}", tools=[add])
    return CART[first:]


def tools_in_a_function_that_is_called(rows):
    CART.clear()
    for row in each(rows):
        print(row, buying(row))


CHANGING_TOOLS = [
    tools_that_change, tools_in_a_list_of_the_module, tools_in_a_list, tools_of_the_function,
    tools_in_a_function_that_is_called,
]  # fmt: skip


@pytest.mark.parametrize("loop", CHANGING_TOOLS, ids=lambda loop: loop.__name__)
def test_tools(loop: Callable[..., Any]) -> None:
    the_same(loop)


def test_a_tool_that_waits_is_told_of() -> None:
    assert any("`add`, which the model may call" in why for why in waits(tools_that_change))


# An iterator is shared by all who go through it, by whatever function.


def zipped(rows):
    ids = iter(range(100))
    for row in each(rows):
        words = ask(f"Words {row}").split()[:2]
        print(row, dict(zip(words, ids)))


def sliced_off(rows):
    pool = iter(range(100))
    for row in each(rows):
        answer = ask(row)
        print(row, answer, list(itertools.islice(pool, 2)))


def summed(rows):
    it = iter(range(100))
    for row in each(rows):
        answer = ask(row)
        print(row, answer, sum(1 for _ in zip(it, "ab")), next(it))


def looked_for(rows):
    ids = iter(range(100))
    for row in each(rows):
        answer = ask(row)
        print(row, int(answer.split()[0]) % 3 + next(ids) in ids, next(ids))


def any_of(rows):
    pool = iter(range(100))
    for row in each(rows):
        answer = ask(row)
        print(row, any(p % 5 > len(answer) % 3 for p in pool), next(pool))


POOL: Any = None


def taking(count):
    return list(itertools.islice(POOL, count))


def in_a_function(rows):
    global POOL
    POOL = iter(range(100))
    for row in each(rows):
        print(row, len(ask(row)), taking(2))


def given_to_a_function(rows):
    pool = iter(range(100))
    for row in each(rows):
        print(row, len(ask(row)), first_of(pool))


def first_of(items):
    return [*itertools.islice(items, 2)], ",".join(map(str, itertools.islice(items, 1)))


class Holder:
    def __init__(self):
        self.pool = iter("abcdefghijklmnop")


def of_an_attribute(rows):
    holder = Holder()
    for row in each(rows):
        answer = ask(row)
        print(row, answer, tuple(zip("xy", holder.pool)))


def extended_by(rows):
    pool, out = iter(range(8)), []
    for row in each(rows):
        if len(ask(row)) % 2:
            out.extend(pool)
        out.append(row)
    return out


def in_front(rows):
    pool, out = iter(range(100)), []
    for row in each(rows):
        two = list(itertools.islice(pool, 2))
        out.append((ask(row), two))
    return out


def of_its_own(rows):
    out = []
    for row in each(rows):
        words = iter(ask(row).split())
        first = next(words)
        out.append((first, list(words), ask(first)))
    return out


ITERATORS = [
    zipped, sliced_off, summed, looked_for, any_of, in_a_function, given_to_a_function, of_an_attribute, extended_by,
    in_front, of_its_own,
]  # fmt: skip


@pytest.mark.parametrize("loop", ITERATORS, ids=lambda loop: loop.__name__)
def test_iterators(loop: Callable[..., Any]) -> None:
    _, lanes = the_same(loop)
    if loop in (in_front, of_its_own):
        assert lanes.duration < 4_500_000_000


# Files are outside of every iteration.


def path_in_the_item(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "log")
        for out, row in each([(path, row) for row in rows]):
            answer = ask(row)
            old = out.read_text() if out.exists() else ""
            out.write_text(old + row + answer + "\n")
        return path.read_text()


@dataclasses.dataclass
class Job:
    row: str
    out: pathlib.Path


def path_of_the_item(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "log")
        for job in each([Job(row, path) for row in rows]):
            answer = ask(job.row)
            old = job.out.read_text() if job.out.exists() else ""
            job.out.write_text(old + answer)
        return path.read_text()


def size_of_a_file(rows):
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "log")
        sizes = []
        for row in each(rows):
            answer = ask(row)
            size = os.path.getsize(name) if os.path.exists(name) else 0
            with open(name, "a") as file:
                file.write(answer)
            sizes.append((row, size))
        return sizes


def read_in_the_head(rows):
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            pathlib.Path(folder, row).write_text(row)
        answers = []
        for path in each(sorted(pathlib.Path(folder).iterdir())):
            answers.append(ask(path.read_text()))
        return answers


FILES = [path_in_the_item, path_of_the_item, size_of_a_file, read_in_the_head]


@pytest.mark.parametrize("loop", FILES, ids=lambda loop: loop.__name__)
def test_files(loop: Callable[..., Any]) -> None:
    the_same(loop)


def test_a_file_that_is_read_before_the_call_needs_no_turn() -> None:
    alone, lanes = the_same(read_in_the_head)
    assert lanes.duration < alone.duration * 0.75
    assert any("os.path.getsize" in why for why in waits(size_of_a_file))


# A step is a function of the user's as any other one.


def stepped(rows):
    register.function.__globals__["REGISTERED"] = []
    out = []
    for row in each(rows):
        answer = ask(row)
        out.append((register(answer), noted(row), len(REGISTERED)))
    return out


REGISTERED = []


@step
def register(text):
    REGISTERED.append(text)
    return len(REGISTERED)


@step(effect=True)
def noted(text):
    REGISTERED.append(text)
    return len(REGISTERED)


@step
def computed(text):
    return len(text)


def stepped_aside(rows):
    out = []
    for row in each(rows):
        out.append(ask(f"{row} {computed(ask(row))}"))
    return out


def test_steps() -> None:
    the_same(stepped)
    assert any("REGISTERED" in why for why in waits(stepped))


def test_a_step_that_only_computes_holds_nobody_back() -> None:
    alone, lanes = the_same(stepped_aside)
    assert lanes.duration < alone.duration / 2
    assert not waits(stepped_aside)


KEPT = [
    refilled, added_up, added_up_in_attribute, updated, united, counted_words, grouped, generated,
    generated_until_it_fails, sliced, views, same_object_is_kept, objects_of_classes,
]  # fmt: skip


@pytest.mark.parametrize("loop", KEPT, ids=lambda loop: loop.__name__)
def test_what_is_kept(loop: Callable[..., Any]) -> None:
    the_same(loop)


def the_same(loop: Callable[..., Any]) -> tuple[Trace, Trace]:
    for seed in range(4):
        traces = compared(
            lambda: (flow(loop), (["a", "b", "c", "a"],)), seed, may_ask_more=loop is generated_until_it_fails
        )
    return traces


def waits(loop: Callable[..., Any]) -> set[str]:
    """Why lines of a loop wait, as `explain` says it."""
    found = flow(loop).explain().found
    lines = (line for function in found.functions for each in function.loops for line in each.lines)
    return {line.why for line in lines if line.does == "waits"}


def test_a_line_that_cannot_be_kept_is_told_of() -> None:
    assert any("it reads `own`" in why for why in waits(objects_of_classes))
    assert not waits(added_up)


def printed_in_the_head(rows):
    book = io.StringIO()
    for row in each(rows):
        book.write(row)
        print(row, file=book)
        ask(row)
    return book.getvalue()


def printed_behind(rows):
    book = io.StringIO()
    for row in each(rows):
        book.write(row)
        print(ask(row), file=book)
        book.write("!")
    return book.getvalue()


def printed_and_looked_at(rows):
    book, lengths = io.StringIO(), []
    for row in each(rows):
        print(ask(row), file=book)
        lengths.append(len(book.getvalue()))
    return lengths


PRINTED = [printed_in_the_head, printed_behind, printed_and_looked_at]


@pytest.mark.parametrize("loop", PRINTED, ids=lambda loop: loop.__name__)
def test_what_is_printed_to(loop: Callable[..., Any]) -> None:
    the_same(loop)


# Items that hold each other.


@dataclasses.dataclass
class Chapter:
    title: str
    before: Any = None
    words: int = 0
    start: int = 0


def linked_back(rows):
    chapters, before = [], None
    for row in rows:
        before = Chapter(row, before)
        chapters.append(before)
    for chapter in each(chapters):
        chapter.words = len(ask(f"Write {chapter.title}"))
        if chapter.before:
            chapter.start = chapter.before.start + chapter.before.words
    return [chapter.start for chapter in chapters]


def linked_to_one(rows):
    whole = Chapter("whole")
    parts = [Chapter(row, whole) for row in rows]
    for part in each([*parts, whole]):
        part.words += len(ask(f"Write {part.title}"))
        if part.before:
            part.before.words += part.words
    return whole.words, [part.words for part in parts]


def held_alone(rows):
    chapters = [Chapter(row, Chapter("inner")) for row in rows]
    for chapter in each(chapters):
        chapter.words = len(ask(chapter.before.title)) + len(ask(chapter.title))
    return [chapter.words for chapter in chapters]


@pytest.mark.parametrize("loop", [linked_back, linked_to_one, held_alone], ids=lambda loop: loop.__name__)
def test_items_that_hold_each_other(loop: Callable[..., Any]) -> None:
    the_same(loop)


def test_items_that_hold_others_overlap() -> None:
    alone, lanes = the_same(held_alone)
    assert lanes.duration < alone.duration / 2


# What is made when an object is.

NUMBERS = itertools.count()


@dataclasses.dataclass
class Numbered:
    name: str
    number: int = dataclasses.field(default_factory=lambda: next(NUMBERS))


@dataclasses.dataclass
class Noted:
    name: str
    notes: list = dataclasses.field(default_factory=lambda: [0] * len("ab"))


class Counted(Exception):
    count = 0

    def __init__(self, name):
        Counted.count += 1
        super().__init__(f"{name} {Counted.count}")


class Named(Exception):
    pass


def numbered_by_a_factory(rows):
    globals()["NUMBERS"] = itertools.count()
    made = []
    for row in each(rows):
        ask(row)
        made.append(Numbered(row))
    return [each.number for each in made]


def counted_by_an_exception(rows):
    Counted.count = 0
    said = []
    for row in each(rows):
        try:
            ask(row)
            raise Counted(row)
        except Counted as error:
            said.append(str(error))
    return said


def made_of_nothing_else(rows):
    made = []
    for row in each(rows):
        noted = Noted(ask(row))
        try:
            raise Named(ask(noted.name))
        except Named as error:
            made.append((noted, str(error)))
    return [(each.notes, said) for each, said in made]


@pytest.mark.parametrize("loop", [numbered_by_a_factory, counted_by_an_exception], ids=lambda loop: loop.__name__)
def test_what_making_an_object_does(loop: Callable[..., Any]) -> None:
    the_same(loop)


def test_objects_that_only_keep_hold_nobody_back() -> None:
    alone, lanes = the_same(made_of_nothing_else)
    assert lanes.duration < alone.duration / 2


# Context managers of the user's.


class Section:
    depth = 0

    def __init__(self, title):
        self.title = title
        self.seen = []

    def __enter__(self):
        self.seen.append(self.title)
        print("  " * Section.depth + self.title)
        Section.depth += 1
        return self

    def __exit__(self, *raised):
        Section.depth -= 1


class Quiet:
    def __enter__(self):
        self.seen = []
        return self

    def __exit__(self, *raised):
        self.seen.append(raised)


def indented(rows):
    for row in each(rows):
        with Section(row):
            answer = ask(row)
            print("  " * Section.depth + answer)


def managed_alone(rows):
    said = []
    for row in each(rows):
        with Quiet() as quiet:
            quiet.seen.append(ask(row))
            said.append((ask(quiet.seen[-1]), len(quiet.seen)))
    return said


def test_what_context_managers_change() -> None:
    the_same(indented)
    assert any("Section" in why for why in waits(indented))


def test_context_managers_of_an_iteration_hold_nobody_back() -> None:
    alone, lanes = the_same(managed_alone)
    assert lanes.duration < alone.duration / 2


# Setters.

SET = []


class Kept:
    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, new):
        SET.append(new)
        self._value = (new, len(SET))


class Plain:
    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, new):
        self._value = new


def set_on_what_is_new(rows):
    SET.clear()
    said = []
    for row in each(rows):
        kept = Kept()
        kept.value = ask(row)
        said.append(ask(f"{row} {kept.value[1]}"))
    return said, SET


def set_on_what_is_shared(rows):
    SET.clear()
    kept, said = Kept(), []
    for row in each(rows):
        kept.value = ask(row)
        said.append(kept.value[1])
    return said, SET


def set_aside(rows):
    said = []
    for row in each(rows):
        plain = Plain()
        plain.value = ask(row)
        plain.value += "!"
        said.append(ask(plain.value))
    return said


@pytest.mark.parametrize("loop", [set_on_what_is_new, set_on_what_is_shared], ids=lambda loop: loop.__name__)
def test_what_setters_do(loop: Callable[..., Any]) -> None:
    the_same(loop)
    assert waits(loop)


def test_setters_of_what_is_new_hold_nobody_back() -> None:
    alone, lanes = the_same(set_aside)
    assert lanes.duration < alone.duration / 2


# What is changed by a method that has another name there, or that is handed on.


def named_method(rows):
    log, out = [], []
    add = log.append
    for row in each(rows):
        out.append(ask(f"{row} {len(log)}"))
        add(row)
    return log, out


def handed_on(rows):
    def record(add, row):
        add(row)

    log, out = [], []
    for row in each(rows):
        out.append(ask(f"{row} {len(log)}"))
        record(log.append, row)
    return log, out


def mapped(rows):
    log, out = [], []
    for row in each(rows):
        out.append(ask(f"{row} {len(log)}"))
        list(map(log.append, [row, row]))
    return log, out


def advanced_by_a_method(rows):
    numbers, out = itertools.count(), []
    step = numbers.__next__
    for row in each(rows):
        first = next(numbers)
        out.append((first, ask(f"{row} {first}"), step()))
    return out


def advanced_by_getattr(rows):
    numbers, out = itertools.count(), []
    for row in each(rows):
        first = next(numbers)
        step = getattr(numbers, "__next__")
        out.append((first, ask(f"{row} {first}"), step()))
    return out


def advanced_by_partial(rows):
    numbers, out = itertools.count(), []
    step = functools.partial(next, numbers)
    for row in each(rows):
        first = next(numbers)
        out.append((first, ask(f"{row} {first}"), step()))
    return out


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "function",
    [named_method, handed_on, mapped, advanced_by_a_method, advanced_by_getattr, advanced_by_partial],
)
def test_a_method_by_another_name_changes_what_it_belongs_to(function: Callable[..., Any], seed: int) -> None:
    compared(lambda: (flow(function), (["a", "b", "c", "d"],)), seed)
