"""Whatever nests in whatever else: a run gives, prints and fails what the text says line by line, in whatever order
answers come, however many calls and turns may be open, at every -O level, and when it goes on after a cut."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from apxm.compiler.pipeline import compile_source
from apxm.language.parser import parse
from apxm.passes import inline
from apxm.program.codec import decode, encode
from apxm.program.program import Program
from apxm.runtime.options import RunOptions
from apxm.runtime.trace import Trace
from apxm.source import SourceFile
from tests.meaning.answers import answer, arguments, calls, tool
from tests.meaning.execution import execute, resumed
from tests.meaning.interpreter import Interpreter, Outcome
from tests.meaning.writer import Writer

ASSIGNMENTS = 20
"""Of latencies and limits, to each program."""


Told = tuple[str, str]
"""A failure: its operation, and its kind."""
MERGEABLE = re.compile(r"(?:wait_all|merge)\(.*\) -> (\w+)$", re.MULTILINE)
"""What binds the value of an operation that asks nobody."""


def program_of(text: str, level: int) -> Program:
    return decode(encode(compile_source(SourceFile("test.ais", text), level=level).program))


def read(text: str, given: list[object]) -> Outcome:
    """What the text says."""
    tree = parse(SourceFile("test.ais", text))
    return Interpreter(tree, answer, tool, calls).run(tree.agents[-1].name.text, "main", given)


class Case:
    """A random program, what it is given, and what it means."""

    def __init__(self, seed: int, size: int = 22) -> None:
        self.random = Random(seed)
        writer = Writer(self.random, size)
        self.text = writer.program()
        self.given = arguments(self.random)
        self.levels = [0, 1, 2] if writer.keeps else [0, 1]
        """The -O levels that leave its calls as they are."""

    def check(self, assignments: int) -> None:
        expected = read(self.text, self.given)
        programs = {level: self.program(level) for level in self.levels}
        for number in range(assignments):
            level = self.levels[number % len(self.levels)]
            options = RunOptions(
                max_concurrency=self.random.choice((None, None, 1, 2, 5)),
                max_open_turns=self.random.choice((1, 2, 4096)),
            )
            trace, tools = execute(programs[level], self.given, self.random, options)
            found = outcome(trace.value, trace.printed, told(trace, expected, level, self.text), tools.changed)
            limits = f"{options.max_concurrency}, {options.max_open_turns}"
            assert found == meant(expected), f"-O{level}, {limits}\n{self.text}\n{self.given}"
            assert not tools.beside, self.text

    def check_resumed(self, folder: Path) -> None:
        expected = replace(read(self.text, self.given), tools=[])
        level = self.levels[-1]
        trace = resumed(self.program(level), self.given, self.random, folder)
        found = outcome(trace.value, trace.printed, told(trace, expected, level, self.text), [])
        assert found == meant(expected), f"{self.text}\n{self.given}"

    def program(self, level: int) -> Program:
        """With flows of any size inlined or not."""
        largest = inline.LARGEST_BODY
        try:
            inline.LARGEST_BODY = self.random.choice((3, 20, 1000))
            return program_of(self.text, level)
        finally:
            inline.LARGEST_BODY = largest


def outcome(value: object, printed: list[str], failures: list[Told], tools: list[str]) -> tuple[object, ...]:
    return value, printed, failures, tools


def meant(expected: Outcome) -> tuple[object, ...]:
    in_text = in_order(expected)
    return outcome(None if in_text else expected.value, expected.printed, in_text, expected.tools)


def in_order(expected: Outcome) -> list[Told]:
    return [(each.operation, each.kind) for each in sorted(expected.failures, key=lambda failure: failure[:2])]


def told(trace: Trace, expected: Outcome, level: int, text: str) -> list[Told]:
    """The failures that a run told of. From -O1 on the first of two operations that give the same value serves both, as
    there are where a flow is inlined twice; if it fails, it does for both, and is told of once."""
    found: list[Told] = [(failure.operation, failure.kind) for failure in trace.failures]
    wanted = in_order(expected)
    if level == 0 or not set(found) <= set(wanted):
        return found
    mergeable = re.compile(rf"(wait_all|merge)#\d+|{'|'.join(MERGEABLE.findall(text)) or '-'}")
    copies = {each for each in map(last, found) if mergeable.fullmatch(each[0])}
    return [each for each in wanted if each in found or last(each) in copies]


def last(failure: Told) -> Told:
    """With the name that the operation has in its block."""
    return failure[0].rpartition("/")[2], failure[1]


@pytest.mark.parametrize("seed", range(30))
def test_a_run_is_what_the_text_says_line_by_line(seed: int) -> None:
    Case(seed).check(ASSIGNMENTS)


@pytest.mark.parametrize("seed", range(100, 106))
def test_a_run_that_goes_on_is_so_too(seed: int, tmp_path: Path) -> None:
    Case(seed).check_resumed(tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1000, 2200, 200))
def test_many_runs_are(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 200):
        case = Case(seed, size=20 + seed % 30)
        case.check(ASSIGNMENTS)
        case.check_resumed(tmp_path / str(seed))
