"""Whose objects are: those that an iteration visibly makes are its own, and what others may have, too, is not.

Each flow is explained, from its text and as it is loaded, and run: no line may wait of which nothing was said.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from apxm.explaining.explanation import Explanation, Given
from apxm.explaining.files import explained_file
from apxm.flows.flow import marked
from apxm.flows.twins import TWINS
from tests.explaining.test_explained_lines import holds

HEAD = """\
from dataclasses import dataclass, field
from apxm import ask, each, flow

SHARED = []

class Says:
    def say(self):
        answer = ask(str(self.log))
        self.log.append(answer)
        return answer

class Fresh(Says):
    def __init__(self, row):
        self.log = [row]

class OfModule(Says):
    def __init__(self, row):
        self.log = SHARED

class OfClass(Says):
    log = []
    def __init__(self, row): ...

class Given(Says):
    def __init__(self, log):
        self.log = log

class Either(Says):
    def __init__(self, log=None):
        self.log = log or []

class Later(Says):
    def __init__(self, row):
        self.log = []
    def share(self):
        self.log = SHARED

def made(row):
    return [row]

def built(row):
    log = []
    log.append(row)
    return log

def of_built(row):
    return built(row)

class Whole:
    def __init__(self, row):
        self.log = [row]
    def tell(self):
        answer = ask(str(self.log))
        self.log.append(answer)
        return answer

def object_of(row):
    found = Whole(row)
    return found

def part_of(row):
    return SHARED

def either(row):
    return [1] if row else SHARED

@dataclass
class Data(Says):
    log: list

@dataclass
class Factory(Says):
    log: list = field(default_factory=list)

@flow
def main(rows):
    shared = []
    for row in each(rows):
"""


def judged(body: str, name: str, tmp_path: Path) -> tuple[str, list[int]]:
    """The verdict over the loop of a flow, the same from its text and as it is loaded, and the lines of `main` that are
    said to wait."""
    text = HEAD + "".join(f"        {line}\n" for line in dedent(body).strip().split("\n"))
    path = tmp_path / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    try:
        found = holds(module.main, ([["a"], ["b"], ["c"]],))
    finally:
        del sys.modules[name]
    verdict = only(found).verdict
    assert only(explained_file(str(path), text, TWINS, marked, Given())).verdict == verdict
    return verdict, [line.at.line - HEAD.count("\n") for line in only(found).lines if line.does == "waits"]


def only(found: Explanation) -> Any:
    (loop,) = (loop for function in found.functions for loop in function.loops if loop.promised)
    return loop


OWN = {
    "an attribute that the constructor makes": "c = Fresh(row)\nc.say()\nprint(c.say())",
    "one that is changed from outside": "c = Fresh(row)\nc.log.append(ask('?'))\nprint(c.say())",
    "one that the constructor is given": "c = Given([row])\nc.say()\nprint(c.say())",
    "one that a dataclass is given": "c = Data(log=[row])\nc.say()\nprint(c.say())",
    "one that is given or made": "c = Either([])\nc.say()\nprint(c.say())",
    "what a function makes": "log = made(row)\nlog.append(ask('?'))\nprint(ask(str(log)))",
    "what a function builds": "log = built(row)\nlog.append(ask('?'))\nprint(ask(str(log)))",
    "what one gives that another builds": "log = of_built(row)\nlog.append(ask('?'))\nprint(ask(str(log)))",
    "an object that a function makes": "c = object_of(row)\nc.tell()\nprint(c.tell())",
    "a part of a tuple": "log, count = [], 0\nlog.append(ask('?'))\nprint(ask(str(log)), count)",
    "one of two": "log = [1] if row else [2]\nlog.append(ask('?'))\nprint(ask(str(log)))",
}


@pytest.mark.parametrize("body", OWN.values(), ids=OWN)
def test_what_an_iteration_visibly_makes_is_its_own(body: str, tmp_path: Path, request: Any) -> None:
    assert judged(body, f"own_{abs(hash(request.node.name))}", tmp_path) == ("independent", [])


OTHERS = {
    "an attribute that the constructor takes from the module": "c = OfModule(row)\nc.say()\nprint(c.say())",
    "one of the class": "c = OfClass(row)\nc.say()\nprint(c.say())",
    "one that the constructor is given from the module": "c = Given(SHARED)\nc.say()\nprint(c.say())",
    "one that it is given from around the loop": "c = Given(shared)\nc.say()\nprint(c.say())",
    "one that is given, or else made": "c = Either(shared)\nc.say()\nprint(c.say())",
    "one that another method sets": "c = Later(row)\nc.share()\nc.say()\nprint(c.say())",
    "one that is set from outside": "c = Fresh(row)\nc.log = SHARED\nc.say()\nprint(c.say())",
    "one that a dataclass is given": "c = Data(SHARED)\nc.say()\nprint(c.say())",
    "one that a factory makes": "c = Factory()\nc.say()\nprint(c.say())",
    "one that is changed from outside": "c = OfModule(row)\nc.log.append(ask('?'))\nprint(c.say())",
    "one of two": "log = [1] if row else SHARED\nlog.append(ask('?'))\nprint(ask(str(log)))",
    "what a function gives of the module": "log = part_of(row)\nlog.append(ask('?'))\nprint(ask(str(log)))",
    "what a function makes, or else gives": "log = either(row)\nlog.append(ask('?'))\nprint(ask(str(log)))",
    "a sorted list": "log = sorted(row)\nlog.append(ask('?'))\nprint(ask(str(log)))",
    "a part of a tuple": "log, count = SHARED, 0\nlog.append(ask('?'))\nprint(ask(str(log)), count)",
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_what_others_may_have_is_never_called_independent(body: str, tmp_path: Path, request: Any) -> None:
    verdict, waits = judged(body, f"others_{abs(hash(request.node.name))}", tmp_path)
    assert verdict in ("carried", "unknown")
    assert waits
