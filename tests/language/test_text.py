"""What text literals mean."""

import pytest

from apxm.language.parser import parse
from apxm.language.syntax import Constant, Expression, FieldOf, FormatText, Name, Return
from apxm.source import SourceFile


def read(literal: str) -> Expression:
    tree = parse(SourceFile("t.ais", f"agent A {{ flow f() -> str {{ return {literal} }} }}"))
    (statement,) = tree.agents[0].flows[0].body.statements
    assert isinstance(statement, Return)
    assert statement.value is not None
    return statement.value


def text_of(literal: str) -> object:
    value = read(literal)
    assert isinstance(value, Constant)
    return value.value


def parts_of(literal: str) -> list[str]:
    """Literal texts as they are, references as `<name>`."""
    value = read(literal)
    assert isinstance(value, FormatText)
    return [str(part.value) if isinstance(part, Constant) else f"<{reference(part)}>" for part in value.parts]


def reference(value: Expression) -> str:
    if isinstance(value, FieldOf):
        return f"{reference(value.value)}.{value.name.text}"
    assert isinstance(value, Name)
    return value.text


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ('""', ""),
        ('"a // b /* c */ ; d"', "a // b /* c */ ; d"),
        (r'"\n\t\"\\"', '\n\t"\\'),
        (r'"\u00e9\u2192"', "é→"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"\\n"', "\\n"),
        ('"{name} {{x}}"', "{name} {{x}}"),
        ('f"no braces"', "no braces"),
        ('f"{{}}"', "{}"),
        ('""""""', ""),
        ('"""a"""', "a"),
        ('"""a "quoted" b"""', 'a "quoted" b'),
        (r'"""ends with \""""', 'ends with "'),
        ('"日本"', "日本"),
    ],
)
def test_a_text_has_this_value(literal: str, value: str):
    assert text_of(literal) == value


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ('"""\n    one\n      two\n    """', "one\n  two"),
        ('"""\n    one\n\n    two\n"""', "one\n\ntwo"),
        ('"""\n    one\n  \t \n    two"""', "one\n\ntwo"),
        ('"""one\n    two\n    three"""', "one\ntwo\nthree"),
        ('"""one\n    two\n      three\n    """', "one\ntwo\n  three"),
        ('"""\r\n    one\r\n    two\r\n    """', "one\ntwo"),
        ('"""\n\n    one\n\n    """', "\none\n"),
        ('"""\n\ttab\n    blanks\n"""', "\ttab\n    blanks"),
        ('"""\n    one\\n    two\n    """', "one\n    two"),
        ('"""\n"""', ""),
        ('"""   """', "   "),
    ],
    ids=[
        "closing quotes on their own line",
        "an empty line stays",
        "a line of blanks does not set the margin",
        "a first line beside the quotes does not set the margin",
        "nor does the line of the closing quotes",
        "line ends of Windows",
        "only one line break goes at each end",
        "tabs and blanks share nothing",
        "an escaped line break is no line",
        "nothing",
        "one line is taken as it is",
    ],
)
def test_a_long_text_loses_its_margin(literal: str, value: str):
    assert text_of(literal) == value


@pytest.mark.parametrize(
    ("literal", "parts"),
    [
        ('f"{a}"', ["<a>"]),
        ('f"x{a}y{b.c.d}z"', ["x", "<a>", "y", "<b.c.d>", "z"]),
        ('f"{{{a}}}"', ["{", "<a>", "}"]),
        ('f"{ a }{b}"', ["<a>", "<b>"]),
        ('f"""\n    Hello {a},\n      {b}\n    """', ["Hello ", "<a>", ",\n  ", "<b>"]),
    ],
)
def test_a_format_text_has_these_parts(literal: str, parts: list[str]):
    assert parts_of(literal) == parts


def test_a_reference_in_a_format_text_knows_its_place():
    value = read('f"""\n      one\n      {wanted.here}\n    """')
    assert isinstance(value, FormatText)
    span = value.parts[-1].span
    assert span.source.text[span.start : span.end] == "wanted.here"
