"""What constructors do that are in sight belongs to the object that is made: it neither waits nor is said to."""

from __future__ import annotations

import pytest

from apxm.explaining.explanation import Given
from apxm.explaining.files import explained_flow
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.flows.twins import TWINS
from tests.explaining.test_explain import loops
from tests.lanes.comparing import compared

CLASSES = """
class Base:
    def __init__(self, name):
        self.name = name
        self.parts = []

class Derived(Base):
    def __init__(self, name, size):
        super().__init__(name)
        self.size = size

class Plain:
    def __init__(self, text):
        self.text = text.strip()
        self.words = self.text.split()

class Holder:
    def __init__(self, row):
        self.inner = Plain(row)
        self.derived = Derived(row, 1)

class WrongError(Exception):
    def __init__(self, message, row):
        super().__init__(message)
        self.row = row
"""
BODY = """
def main(rows):
    out = []
    for row in rows:
        derived, plain, holder = Derived(row, 2), Plain(row), Holder(row)
        answer = ask(plain.text, derived.name)
        if not ask(holder.inner.text, answer):
            raise WrongError("no answer", row)
        out.append((answer, derived.size))
    return out
"""


class Base:
    def __init__(self, name: str) -> None:
        self.name = name


class Derived(Base):
    def __init__(self, name: str, size: int) -> None:
        super().__init__(name)
        self.size = size


class Other(Base):
    def __init__(self, name: str) -> None:
        super().__init__(name.upper())


class WrongError(Exception):
    def __init__(self, message: str, row: str) -> None:
        super().__init__(message)
        self.row = row


MADE: list[str] = []


class Noted:
    def __init__(self, name: str) -> None:
        MADE.append(name)
        self.number = len(MADE)


class NotedToo(Noted):
    def __init__(self, name: str) -> None:
        super().__init__(name)


def made(rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        derived = Derived(row, 1)
        answer = ask(derived.name)
        other = Other(answer)
        wrong = WrongError(other.name, row)
        found.append(ask(f"{wrong} {derived.size}"))
    return found


def noted(rows: list[str]) -> list[str]:
    MADE.clear()
    found: list[str] = []
    for row in each(rows):
        answer = ask(row)
        found.append(ask(f"{answer} {NotedToo(row).number}"))
    return found


def test_what_an_object_of_the_iteration_is_begun_with_is_its_own() -> None:
    (loop,) = loops(CLASSES + BODY)
    assert loop.verdict == "independent"
    assert [line.why for line in loop.lines if line.does != "later"] == []


def test_what_a_constructor_does_beside_its_object_waits() -> None:
    (loop,) = loops(
        CLASSES.replace("self.name = name", "self.name = name\n        NAMES.append(name)\n        len(NAMES)")
        + "NAMES = []\n"
        + BODY
    )
    assert loop.verdict == "carried"


def test_no_iteration_waits_for_a_constructor_in_sight() -> None:
    sequential, lanes = compared(lambda: (flow(made), (["a", "b", "c", "d"],)), 1)
    assert lanes.duration < sequential.duration / 2
    (found,) = (each for each in explained_flow(made, TWINS, Given()).functions if each.is_entry)
    assert [loop.verdict for loop in found.loops] == ["independent"]


@pytest.mark.parametrize("seed", range(2))
def test_what_a_class_above_notes_is_noted_in_order(seed: int) -> None:
    compared(lambda: (flow(noted), (["a", "b", "c", "d"],)), seed)
