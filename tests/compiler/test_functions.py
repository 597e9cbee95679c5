"""Random expressions of operators and functions give what a second implementation gives, at every level.

Each is drawn together with what it means, written from AIS.md with nothing of ours: a Python function of the arguments.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.backends.protocol import ModelRequest
from apxm.compiler.pipeline import compile_source
from apxm.errors import BackendError
from apxm.program.codec import decode, encode
from apxm.program.program import Program
from apxm.runtime.trace import Trace
from apxm.source import SourceFile
from apxm.testing import ScriptedBackend, execute_virtually

Meaning = Callable[[dict[str, Any]], Any]
Drawn = tuple[str, Meaning]

PARAMETERS = {
    "n": ("int", (0, 1, -3, 7, 2**63 - 1, -(2**63))),
    "f": ("float", (0.0, 0.5, -2.25, 1e308)),
    "s": ("str", ("", "a", "B b", "ünï", "a,b,,c", "12", " 1.5e2 ", '{"a":1}')),
    "b": ("bool", (True, False)),
    "xs": ("list[str]", ([], ["a"], ["b", "a", "b"], ["12", ""])),
    "ns": ("list[int]", ([], [3, 1, 3], [0])),
    "j": ("json", (None, 1, "a", [1, "a", [1.0]], {"a": 1, "b": [True, {"a": 1}]}, True)),
}


class Fails(Exception):  # noqa: N818  # a verdict
    """There is no such value."""


class Writer:
    def __init__(self, random: Random) -> None:
        self.random = random

    def of(self, type_: str, depth: int) -> Drawn:
        names = [name for name, (declared, _) in PARAMETERS.items() if declared == type_]
        if depth == 0 or self.random.random() < 0.15:
            if self.random.random() < 0.6 or type_ == "json":
                name = self.random.choice(names)
                return name, lambda env: env[name]
            value = self.random.choice([v for t, vs in PARAMETERS.values() if t == type_ for v in vs if v != []])
            return json.dumps(value, ensure_ascii=False), lambda _env: value
        form, types, compute = self.random.choice(FORMS[type_])
        parts = [self.of(part, depth - 1) for part in types]
        meanings = [meaning for _, meaning in parts]
        text = form.format(*(text for text, _ in parts))
        if compute is None:  # stops early
            decisive = " or " in form
            return f"({text})", lambda env: _decided(meanings, decisive, env)
        return f"({text})" if form[0] == "{" else text, lambda env: compute(*[meaning(env) for meaning in meanings])


def _decided(meanings: list[Meaning], decisive: bool, env: dict[str, Any]) -> bool:
    return any(m(env) for m in meanings) if decisive else all(m(env) for m in meanings)


def whole(value: Any) -> Any:
    if isinstance(value, float):
        if math.isinf(value) or math.isnan(value):
            raise Fails
    elif not -(2**63) <= value < 2**63:
        raise Fails
    return value


def divided(a: float, b: float) -> float:
    if b == 0:
        raise Fails
    return whole(a / b)


def rest(a: Any, b: Any) -> Any:
    if b == 0:
        raise Fails
    return whole(a - b * math.floor(a / b)) if isinstance(a, int) and abs(a) < 2**50 > abs(b) else whole(a % b)


def item(values: Any, index: int) -> Any:
    if not -len(values) <= index < len(values):
        raise Fails
    return values[index]


def entry(value: Any, name: Any) -> Any:
    if isinstance(name, str):
        if not isinstance(value, dict) or name not in value:
            raise Fails
        return value[name]
    if not isinstance(value, str | list):
        raise Fails
    return item(value, name)


def same(a: Any, b: Any) -> bool:
    """By text: of two equal values each writes its objects in one order, and its whole floats as ints."""
    return written(a) == written(b)


def written(value: Any) -> str:
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{written(v)}" for k, v in sorted(value.items())) + "}"
    return json.dumps(value)


def has_order(a: Any, b: Any) -> bool:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b))
    if not numbers and not (isinstance(a, str) and isinstance(b, str)):
        raise Fails
    return a < b


def inside(a: Any, container: Any) -> bool:
    if isinstance(container, list):
        return any(same(a, one) for one in container)
    if not isinstance(container, str | dict) or not isinstance(a, str):
        raise Fails
    return a in container


def length(value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise Fails
    return len(value)


def read_number(text: str) -> float:
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text.strip(), re.ASCII) is None:
        raise Fails
    return whole(float(text))


def read_json(text: str) -> Any:
    def whole(digits: str) -> int:
        found = int(digits)
        if not -(2**63) <= found < 2**63:
            raise Fails
        return found

    try:
        return json.loads(text, parse_int=whole)
    except ValueError:
        raise Fails from None


def pieces(text: str, separator: str) -> list[str]:
    if not separator:
        raise Fails
    return text.split(separator)


def replaced(text: str, old: str, new: str) -> str:
    return new.join(pieces(text, old))


def once(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not inside(value, found):
            found.append(value)
    return found


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def numbered(count: int) -> list[int]:
    if count > 1000:
        raise Fails  # the real limit is larger, and so is the one number that is drawn
    return list(range(count))


Form = tuple[str, tuple[str, ...], Callable[..., Any] | None]
FORMS: dict[str, list[Form]] = {
    "int": [
        ("{} - {}", ("int", "int"), lambda a, b: whole(a - b)),
        ("{} * {}", ("int", "int"), lambda a, b: whole(a * b)),
        ("{} % {}", ("int", "int"), rest),
        ("{} + {} - {}", ("int", "int", "int"), lambda a, b, c: whole(whole(a + b) - c)),
        ("(-{})", ("int",), lambda a: whole(-a)),
        ("len({})", ("str",), length),
        ("len({})", ("json",), length),
        ("{}[{}]", ("list[int]", "int"), item),
    ],
    "float": [
        ("{} / {}", ("int", "float"), lambda a, b: divided(float(a), b)),
        ("{} - {}", ("float", "int"), lambda a, b: whole(a - float(b))),
        ("{} * {}", ("float", "float"), lambda a, b: whole(a * b)),
        ("number({})", ("str",), read_number),
    ],
    "str": [
        ("{}[{}]", ("list[str]", "int"), item),
        ("{}[{}]", ("str", "int"), item),
        ("{}[{}:{}]", ("str", "int", "int"), lambda a, b, c: a[b:c]),
        ("join({}, {})", ("list[str]", "str"), lambda a, b: b.join(a)),
        ("trim({})", ("str",), str.strip),
        ("upper(lower({}))", ("str",), lambda a: a.lower().upper()),
        ("replace({}, {}, {})", ("str", "str", "str"), replaced),
        ("to_json({})", ("json",), compact),
        ("{} + {}", ("str", "int"), lambda a, b: a + str(b)),
    ],
    "bool": [
        ("{} == {}", ("json", "json"), same),
        ("{} != {}", ("int", "float"), lambda a, b: a != b),
        ("{} < {}", ("json", "int"), has_order),
        ("{} >= {}", ("str", "str"), lambda a, b: not has_order(a, b)),
        ("{} in {}", ("str", "list[str]"), inside),
        ("{} in {}", ("str", "json"), inside),
        ("contains({}, {})", ("str", "str"), lambda a, b: b in a),
        ("starts_with({}, {})", ("str", "str"), lambda a, b: a[: len(b)] == b),
        ('matches({}, "[0-9]+|^$")', ("str",), lambda a: not a or any(c in "0123456789" for c in a)),
        ("(not {})", ("bool",), lambda a: not a),
        *[(f"{{}} {word} {{}}", ("bool", "bool"), None) for word in ("and", "or", "and", "or")],
        ("{} and {} and {}", ("bool", "bool", "bool"), None),
    ],
    "list[str]": [
        ("{} + {}", ("list[str]", "list[str]"), lambda a, b: a + b),
        ("{}[{}:]", ("list[str]", "int"), lambda a, b: a[b:]),
        ("{}[:{}]", ("list[str]", "int"), lambda a, b: a[:b]),
        ("split({}, {})", ("str", "str"), pieces),
        ("lines({})", ("str",), lambda a: a.split("\n") if a else []),
        ("sort({})", ("list[str]",), sorted),
        ("unique({})", ("list[str]",), once),
    ],
    "list[int]": [
        ("{} + [{}]", ("list[int]", "int"), lambda a, b: [*a, b]),
        ("sort(unique({}))", ("list[int]",), lambda a: sorted(once(a))),
        ("range({})", ("int",), numbered),
    ],
    "json": [
        ("{}[{}]", ("json", "int"), entry),
        ("{}[{}]", ("json", "str"), entry),
        ("{}.a", ("json",), lambda a: entry(a, "a")),
        ("parse_json({})", ("str",), read_json),
        ('{{"a": {}, "b": [{}]}}', ("float", "json"), lambda a, b: {"a": a, "b": [b]}),
        (
            "parse_json(to_json(zip({}, {})))",
            ("list[int]", "list[str]"),
            lambda a, b: [[x, y] for x, y in zip(a, b, strict=False)],
        ),
    ],
}


def compiled(text: str, level: int) -> Program:
    return decode(encode(compile_source(SourceFile("t.ais", text), level=level).program))


def agrees(random: Random) -> None:
    writer = Writer(random)
    drawn = [writer.of(random.choice(list(FORMS)), 3) for _ in range(4)]
    arguments = {name: random.choice(values) for name, (_, values) in PARAMETERS.items()}
    declared = ", ".join(f"{name}: {type_}" for name, (type_, _) in PARAMETERS.items())
    shared = [f"let v{i} = {text}\nprint(v{i}, v{i})" for i, (text, _) in enumerate(drawn)]
    text = f"agent A {{ flow main({declared}) {{\n" + "\n".join(shared) + "\n} }"
    printed: list[str] = []
    failed: list[int] = []
    for number, (_, meaning) in enumerate(drawn):
        try:
            value = meaning(arguments)
            shown = value if isinstance(value, str) else compact(value)
            printed.append(f"{shown} {shown}")
        except Fails:
            failed.append(3 + 2 * number)
    for level in (0, 1, 2):
        trace = execute_virtually(compiled(text, level), arguments=list(arguments.values()))
        assert trace.printed == printed, text
        assert sorted(int(f.where.split(":")[1]) for f in trace.failures) == failed, text


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_random_expressions_give_what_they_mean(seed: int) -> None:
    agrees(Random(seed))


@pytest.mark.soak
def test_many_random_expressions_do() -> None:
    for seed in range(20_000):
        agrees(Random(seed))


LAZY = """
agent A {
    flow main(flag: bool, xs: list[str]) {
        ask("fails") -> a
        print("and", flag and a == "x")
        print("or", not flag or a == "x")
        print("both", flag and (1 / len(xs) > 0 or a == "x"))
        print("guarded", len(xs) > 0 and xs[0] == "a")
        print("called", flag and ask("called") == "x")
        print("not called", not flag or flag or ask("never") == "x")
    }
}
"""


def script(request: ModelRequest) -> str | BackendError:
    return BackendError("http_status", "no", retryable=False) if request.prompt == "fails" else "x"


def run(level: int, flag: bool) -> tuple[Trace, list[str]]:
    backend = ScriptedBackend(script=script)
    trace = execute_virtually(compiled(LAZY, level), backend, arguments=[flag, []])
    return trace, [call.request.prompt for call in backend.calls]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_stands_on_the_right_matters_only_where_it_is_asked_for(level: int) -> None:
    trace, asked = run(level, False)
    shown = ["and false", "or true", "both false", "guarded false", "called false", "not called true"]
    assert (trace.printed, asked, len(trace.failures)) == (shown, ["fails"], 1)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_is_asked_for_and_failed_skips_and_what_cannot_be_computed_fails(level: int) -> None:
    trace, asked = run(level, True)
    assert trace.printed == ["guarded false", "called true", "not called true"]
    assert asked == ["fails", "called"]
    assert [failure.kind for failure in trace.failures] == ["http_status", "division_by_zero"]
    assert trace.skipped == 2  # the lines that only the call failed


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("right", ["d.ok as bool", '"" + v == "x"', '"" + (d as int) == "x"'])
def test_what_failed_on_the_right_may_be_taken_for_something_first(right: str, level: int) -> None:
    text = f"""agent A {{ flow main(flag: bool) {{
        ask("fails", schema: json) -> d
        verify("fails") -> v
        print(flag and {right})
    }} }}"""
    trace = execute_virtually(compiled(text, level), ScriptedBackend(script=script), arguments=[False])
    assert trace.printed == ["false"]
