"""Random programs that compute: the checker, every -O level and an artifact agree with an interpreter of its own.

That is `small_ais`: which programs are well typed, what they print and give, and which operations fail of what, whether
numbers stand in the text, are defaults or come with the run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.compiler.pipeline import compile_source
from apxm.errors import SourceError
from apxm.program.codec import decode, encode
from apxm.program.invocation import arguments_for
from apxm.program.program import Program
from apxm.runtime.trace import Trace
from apxm.source import SourceFile
from apxm.testing import execute_virtually
from tests.compiler import small_ais as ais

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]

INTS = (0, 1, -1, 7, 2**62, 2**63 - 1, -(2**63), -(2**62))
FLOATS = (0.5, 0.1, -0.0, -2.25, 1e308, -1e308, 1e-5, 1e22)
TEXTS = ("", "a", "B ", "ünï ✓", 'quo"te', "line\nbreak")
KEYS = ("a", "b", "c")
SCALARS = ("int", "float", "str", "bool", "json")
TYPES = (*SCALARS, "int", "json", *(f"list[{t}]" for t in SCALARS), "list[list[int]]", "list[list[json]]")


class Writer:
    """One program, drawn part by part."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.flows: list[ais.Flow] = []
        self.scope: dict[str, str] = {}
        self.names = 0
        self.careless = False
        """Whether types are now and then not those that are needed."""

    def program(self) -> ais.Program:
        self.careless = self.below(4) == 0
        for number in range(self.below(3)):
            self.flows.append(self.flow(f"f{number}"))
        return ais.Program((*self.flows, self.flow("main")))

    def flow(self, name: str) -> ais.Flow:
        types = [self.pick(TYPES) for _ in range(self.below(3))]
        parameters = tuple((f"{name}p{n}", type_, self.constant(type_, 1)) for n, type_ in enumerate(types))
        self.scope = {name: type_ for name, type_, _ in parameters}
        statements = tuple(self.statement() for _ in range(self.below(5)))
        result = self.pick(TYPES)
        return ais.Flow(name, parameters, statements, self.value(result, 2), result)

    def statement(self) -> ais.Statement:
        kind = self.below(6)
        if kind == 0:
            return ais.Print(tuple(self.value(self.pick(TYPES), 2) for _ in range(1 + self.below(3))))
        self.names += 1
        type_ = self.pick(TYPES)
        if kind == 1:
            selector = self.value("str", 1)
            labels = [*self.draw(st.lists(st.sampled_from(("a", "b")), unique=True, min_size=1)), None]
            arms = tuple((label, self.value(type_, 1)) for label in labels[: len(labels) - (self.below(3) == 0)])
            statement = ais.Switch(f"n{self.names}", selector, arms)
        else:
            statement = ais.Let(f"n{self.names}", self.value(type_, 3))
        # What its value turns out to be may be narrower; a name of the wider type is as good a try.
        self.scope[statement.name] = type_
        return statement

    def value(self, type_: str, depth: int) -> ais.Expression:
        if self.careless and self.below(12) == 0:
            type_ = self.pick(TYPES)
        names = [name for name, found in self.scope.items() if ais.converts(found, type_)]
        if names and self.below(3):
            return ais.Name(self.pick(names))
        if depth <= 0:
            return self.display(type_, 0)
        calls = [flow for flow in self.flows if ais.converts(flow.result, type_)]
        if calls and self.below(4) == 0:
            flow = self.pick(calls)
            given = flow.parameters[: self.below(len(flow.parameters) + 1)]
            return ais.Call(flow.name, tuple(self.value(type_, depth - 1) for _, type_, _ in given))
        match type_:
            case "int" | "float" if self.below(3):
                numbers = ("int",) if type_ == "int" else ("int", "float", "float")
                return ais.Addition(tuple(self.value(self.pick(numbers), depth - 1) for _ in range(2 + self.below(2))))
            case "str" if self.below(2):
                parts = [self.value(self.pick(TYPES), depth - 1) for _ in range(self.below(3))]
                parts.insert(self.below(2), self.value("str", depth - 1))
                return ais.Addition(tuple(parts)) if len(parts) > 1 else parts[0]
            case "str" if self.scope and self.below(2):
                return ais.Format(tuple(self.reference() for _ in range(1 + self.below(3))))
            case "str":
                return ais.Call("merge", tuple(self.value("str", depth - 1) for _ in range(1 + self.below(2))))
            case "json" if self.scope and self.below(2):
                return self.reference()
            case "list[json]" if self.below(2):
                called = self.pick(("merge", "wait_all"))
                return ais.Call(
                    called, tuple(self.value(self.pick(TYPES), depth - 1) for _ in range(1 + self.below(3)))
                )
            case _:
                return self.display(type_, depth)

    def reference(self) -> ais.Expression:
        """A name, or fields of it."""
        name = self.pick(list(self.scope))
        found: ais.Expression = ais.Name(name)
        if self.scope[name] == "json" or (self.careless and self.below(8) == 0):
            for _ in range(self.below(3)):
                found = ais.FieldOf(found, self.pick(KEYS))
        return found

    def display(self, type_: str, depth: int) -> ais.Expression:
        if (element := ais.element_of(type_)) is not None:
            return ais.ListDisplay(tuple(self.value(element, depth - 1) for _ in range(self.below(4))))
        if type_ == "json":
            keys = self.keys()
            return ais.DictDisplay(keys, tuple(self.value(self.pick(TYPES), depth - 1) for _ in keys))
        value = self.constant(type_, 0)
        return ais.Constant(type(value).__name__, value)

    def constant(self, type_: str, depth: int) -> ais.Value:
        if (element := ais.element_of(type_)) is not None:
            return [self.constant(element, 0) for _ in range(self.below(3))]
        if type_ == "json" and depth:
            return {key: self.constant(self.pick(SCALARS), 0) for key in self.keys()}
        if type_ == "float" and self.below(4) == 0:
            type_ = "int"
        return self.pick({"int": INTS, "float": FLOATS, "bool": (True, False)}.get(type_, TEXTS))

    def keys(self) -> tuple[str, ...]:
        return tuple(self.draw(st.permutations(KEYS)))[: 1 + self.below(3)]  # {} behind `=>` is a block

    def pick(self, choices: tuple[T, ...] | list[T]) -> T:
        return self.draw(st.sampled_from(choices))

    def below(self, bound: int) -> int:
        return self.draw(st.integers(0, bound - 1))


@st.composite
def programs(draw: Draw) -> tuple[ais.Program, dict[str, ais.Value]]:
    """And the arguments of its entry, by name, some left out."""
    writer = Writer(draw)
    program = writer.program()
    given = {n: writer.constant(t, 1) for n, t, _ in program.flows[-1].parameters if writer.below(2)}
    return program, given


def compiled(text: str, level: int) -> Program:
    return compile_source(SourceFile("t.ais", text), level=level).program


def told(trace: Trace) -> Counter[tuple[int, str]]:
    """The failures: line and kind."""
    return Counter((int(failure.where.split(":")[1]), failure.kind) for failure in trace.failures)


def agrees(program: ais.Program, given: dict[str, ais.Value]) -> None:
    text = program.source()
    try:
        execute = ais.meaning_of(program)
    except ais.IllTyped:
        for level in (0, 1, 2):
            with pytest.raises(SourceError):
                compiled(text, level)
        return
    parameters = program.flows[-1].parameters
    values = [ais.converted(given.get(n, default), _type_of(t), t) for n, t, default in parameters]
    value, expected = execute(values)
    for level in (0, 1, 2):
        made = compiled(text, level)
        for again in (made, decode(encode(made))):
            trace = execute_virtually(again, arguments=arguments_for(again.flows[-1], given, again.record_types))
            failed = told(trace)
            if level == 0:
                assert failed == Counter(expected.failed)
            else:
                # What gives what another gives, or what nothing uses, is not made, and so does not fail.
                left_out = Counter(expected.failed) - failed
                assert failed <= Counter(expected.failed)
                assert all(re.search(r"merge\(|wait_all\(|switch ", line) for line in _lines(text, left_out))
            assert trace.printed == expected.printed
            if not failed:
                assert ais.written(trace.value) == ais.written(value)


def _lines(text: str, failed: Counter[tuple[int, str]]) -> list[str]:
    return [text.split("\n")[line - 1] for line, _ in failed]


def _type_of(type_: str) -> str:
    """That of a constant which JSON would hold as whole numbers."""
    return type_.replace("float", "int")


@settings(max_examples=25, deadline=None)
@given(programs())
def test_checker_levels_and_artifacts_agree_with_the_interpreter(
    case: tuple[ais.Program, dict[str, ais.Value]],
) -> None:
    agrees(*case)


@pytest.mark.soak
@settings(max_examples=600, deadline=None)
@given(programs())
def test_they_agree_on_many(case: tuple[ais.Program, dict[str, ais.Value]]) -> None:
    agrees(*case)


MIXED = """
agent A {
    @entry flow main(ints: list[int] = [1], texts: list[str] = ["a"], any: list[json] = [true]) -> json {
        let all = [ints, texts, any]
        return [[ints, any], [[1, 2], any], all, one([ints, [2.5]]), two(all), three(ints)]
    }
    flow one(x: list[list[float]]) -> list[json] { return x }
    flow two(x: list[list[json]]) -> json { return [x] }
    flow three(x: list[json]) -> json { return [x, [x]] }
}
"""

SUMS = """
agent A {
    @entry flow main(x: int = 9223372036854775807) -> int {
        let over = x + 1
        print(over + -1)
        print(x + 1 + -1 + 0.5)
        print(1 + -1 + x)
        print(x + (1 + -1))
        print(9223372036854775807 + 1 + -1)
        print(same(x) + 1 + -1)
        print(1e308 + 1e308 + -1e308)
        return 1
    }
    flow same(x: int) -> int { return x + 0 }
}
"""


@pytest.mark.parametrize("level", [0, 1, 2])
def test_lists_of_mixed_types_compile_and_keep_what_they_hold(level: int) -> None:
    value = execute_virtually(compiled(MIXED, level), arguments=[[1], ["a"], [True]]).value
    several = [[1], ["a"], [True]]
    assert ais.written(value) == ais.written(
        [[[1], [True]], [[1, 2], [True]], several, [[1.0], [2.5]], [several], [[1], [[1]]]]
    )


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_a_flow_gives_becomes_floats_where_there_is_nothing_in_it(level: int) -> None:
    text = """agent A {
        flow none() -> int? { return null }
        flow empty() -> list[int] { return [] }
        flow given(x: float?, xs: list[float]) -> json { return [x, xs] }
        @entry flow main() -> json { return given(none(), empty()) }
    }"""
    assert execute_virtually(compiled(text, level)).value == [None, []]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_sum_fails_where_it_leaves_its_range_at_every_level(level: int) -> None:
    trace = execute_virtually(compiled(SUMS, level), arguments=[2**63 - 1])
    assert trace.printed == [str(2**63 - 1)] * 2
    assert [failure.where for failure in trace.failures] == [f"t.ais:{line}:9" for line in (5, 6, 9, 10, 11)]
    assert {failure.kind for failure in trace.failures} == {"overflow"}
