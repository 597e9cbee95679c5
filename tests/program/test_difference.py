"""What the words for a difference name."""

from __future__ import annotations

import pytest

from apxm.compiler.pipeline import compile_source
from apxm.program.difference import difference, same_meaning
from apxm.program.program import Program
from apxm.source import SourceFile

LOOP = """
agent A { flow main(b: bool, xs: list[str]) -> str {
    loop (max: 3, d: "") { ask("x", d) -> c  until b  next d: c } -> r
    for x in xs (n: "") { ask("y", n, x) -> m  next n: m } -> s
    return r + s
} }
"""


def compiled(text: str) -> Program:
    return compile_source(SourceFile("test.ais", text)).program


@pytest.mark.parametrize(("change", "path"), [(("max: 3", "max: 4"), "A.main/r"), (("in xs", 'in ["a"]'), "A.main/s")])
def test_a_loop_that_goes_on_otherwise_is_named(change: tuple[str, str], path: str) -> None:
    before, after = compiled(LOOP), compiled(LOOP.replace(*change))
    assert not same_meaning(before, after)
    assert difference(before, after) == f"{path} decides by something else, or between other cases"


@pytest.mark.parametrize(("change", "path"), [(('d: ""', 'd: "start"'), "A.main/r"), (('n: ""', "n: r"), "A.main/s")])
def test_a_loop_that_begins_otherwise_is_named(change: tuple[str, str], path: str) -> None:
    before, after = compiled(LOOP), compiled(LOOP.replace(*change))
    assert difference(before, after) == f"{path} is given something else to begin with"
