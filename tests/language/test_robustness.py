"""Whatever the input, it ends in a tree or in diagnostics, at most 20, in the order of the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.compiler.check import warnings_of
from apxm.errors import SourceError
from apxm.ir.build import build_module
from apxm.language.checker import check
from apxm.language.lalr import RESERVED_WORDS
from apxm.language.parser import DEEPEST_NESTING, parse
from apxm.language.report import UNKNOWN
from apxm.operations.catalog import OPERATIONS
from apxm.operations.types import DEEPEST_TYPE
from apxm.source import Diagnostic, SourceFile
from tests.language.diagnostic_snippets import snippets

SNIPPETS = [snippet.source for snippet in snippets()]
SIGNS = [
    *("{", "}", "(", ")", "[", "]", ",", ":", "->", "=>", "=", "==", "<", "+", ".", "@", ";"),
    *('"x"', 'f"{a}"', 'f"{a.b}"', "1", "2.5", "-3", "//", "/*", "*/", '"', '"""', "'", "$", "é", "\\"),
]
LEXEMES = [*sorted(RESERVED_WORDS), *OPERATIONS, *SIGNS, "a", "b", "A", "f", "str", "int", "list", "json", "\n", "\n"]


def diagnose(text: str) -> tuple[Diagnostic, ...]:
    try:
        tree = check(parse(SourceFile("w.ais", text)))
    except SourceError as error:
        return error.diagnostics
    assert UNKNOWN not in tree.types.values()
    return warnings_of(tree, build_module(tree))


def examine(text: str) -> tuple[Diagnostic, ...]:
    found = diagnose(text)
    errors = [diagnostic for diagnostic in found if diagnostic.severity == "error"]
    assert len(errors) <= 20
    assert len(errors) in (0, len(found))
    assert all(diagnostic.render() for diagnostic in found)
    assert [d.span.start for d in found] == sorted(d.span.start for d in found)
    assert all(0 <= d.span.start <= d.span.end <= len(text) for d in found)
    return found


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(LEXEMES), max_size=60).map(" ".join), st.booleans())
def test_any_sequence_of_tokens(soup: str, wrapped: bool):
    examine(f"agent A {{ flow f() -> str {{\n{soup}\n}} }}" if wrapped else soup)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_change_of_a_program(data: st.DataObject):
    text = data.draw(st.sampled_from(SNIPPETS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(st.sampled_from(["", *LEXEMES])) + text[end:]
    examine(text)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=60), st.booleans())
def test_any_text_at_all(text: str, quoted: bool):
    examine(f'agent A {{ flow f() -> str {{ return f"{text}" }} }}' if quoted else text)


@pytest.mark.parametrize("opener", ["(", "[", "{", '["a", ', "agent A { flow f() { "])
def test_ten_thousand_nested_brackets_are_one_error(opener: str):
    (found,) = examine(opener * 10_000)
    assert found.code == "too-deep"
    assert str(DEEPEST_NESTING) in found.message


def test_the_deepest_expression_and_block_are_accepted():
    depth = DEEPEST_NESTING - 2
    nested = "[" * depth + "1" + "]" * depth
    assert examine(f"agent A {{ flow f() -> json {{ return {nested} }} }}") == ()
    levels = depth // 2
    blocks = 'switch x { case "a" => { ' * levels + "return" + " } }" * levels
    assert examine(f"agent A {{ flow f(x: str) {{ {blocks} }} }}") == ()


def chain(length: int, step: str) -> str:
    """A flow that binds `a1` to `a0`, `a2` to `a1` and so on, each by `step`."""
    steps = "\n".join(step.format(old=f"a{i}", new=f"a{i + 1}") for i in range(length))
    return f"agent A {{ flow f(a0: json) -> json {{\n{steps}\nreturn a{length} }} }}"


@pytest.mark.parametrize(
    "step", ["let {new} = [{old}]", "let {new} = [{old}, {old}]", 'switch "x" {{ case "x" => [{old}] }} -> {new}']
)
def test_a_type_nests_as_deep_as_brackets_do(step: str):
    assert examine(chain(DEEPEST_TYPE, step)) == ()
    (found,) = examine(chain(500, step))
    assert found.code == "too-deep"
    assert found.span.line == DEEPEST_TYPE + 2
    assert str(DEEPEST_TYPE) in found.message


@pytest.mark.parametrize(
    "step",
    ["merge({old}, 1) -> {new}", "wait_all([{old}]) -> {new}", 'let {new} = {{"k": {old}}}', "let {new} = [{old}, 1]"],
)
def test_what_is_json_inside_may_be_wrapped_again_and_again(step: str):
    assert examine(chain(500, step)) == ()


def test_brackets_in_texts_and_comments_do_not_nest():
    assert examine('agent A { flow f() -> str { return "' + "(" * 1000 + '" } } // ' + "(" * 1000) == ()


@pytest.mark.parametrize("operator", ["+ 1 ", "or a ", "and a "])
def test_flat_expressions_may_be_long(operator: str):
    examine(f"agent A {{ flow f(a: int) -> int {{ return a {operator * 5000}}} }}")


def test_long_chains_of_fields_and_of_not_do_not_recurse():
    (fields,) = examine(f"agent A {{ flow f(a: json) -> json {{ return a{'.b' * 5000} }} }}")
    assert fields.code == "too-deep"
    examine(f"agent A {{ flow f(a: json) -> json {{ return {'not ' * 5000} a }} }}")


def test_at_most_twenty_errors_are_shown_and_they_are_the_first():
    lines = "\n".join(f"print(unknown_{i})" for i in range(200))
    found = examine(f"agent A {{ flow f() {{\n{lines}\n}} }}")
    assert [d.span.line for d in found] == list(range(2, 22))


def test_at_most_twenty_syntax_errors_are_shown_and_they_are_the_first():
    lines = "\n".join('ask("x" 1) -> y' for _ in range(200))
    found = examine(f"agent A {{ flow f() {{\n{lines}\n}} }}")
    assert [d.span.line for d in found] == list(range(2, 22))
