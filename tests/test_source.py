"""How a place of the source is drawn, measured by the widths that Unicode gives."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.source import Diagnostic, SourceFile, Span, shortened, shortened_left

CHARACTERS = st.sampled_from("a \té\u0301日語ｶＡ　🎉❤\ufe0f\u200d👩💻🏽\u202e\u2066\u200b\u3164\x1b\x9b\u0e33한")


def columns(text: str) -> int:
    """The columns of a terminal that `text` takes, where nothing in it changes the width of what is beside it."""
    assert text.isprintable()
    assert not any("VARIATION SELECTOR" in unicodedata.name(c, "") for c in text)
    return sum(
        1 + (unicodedata.east_asian_width(c) in "WF") for c in text if not unicodedata.category(c).startswith("M")
    )


def drawn(line: str, start: int, end: int) -> tuple[str, str]:
    """The line and the line below it, without the gutter."""
    source = SourceFile("w.ais", line)
    _, shown, below = Diagnostic("error", "syntax", "x", Span(source, start, end)).render().split("\n")
    return shown.removeprefix(" 1 | "), below.removeprefix("   | ")


@given(before=st.text(CHARACTERS, max_size=60), marked=st.text(CHARACTERS, min_size=1, max_size=20))
def test_a_place_is_underlined_in_columns_of_the_terminal(before: str, marked: str) -> None:
    shown, below = drawn(f"{before}<{marked}>", len(before), len(before) + len(marked) + 2)
    position, end = shown.index("<"), shown.index(">") + 1
    assert len(below) - len(below.lstrip()) == columns(shown[:position])
    assert below.count("^") == columns(shown[position:end])


@given(text=st.text(max_size=300), start=st.integers(0, 300), length=st.integers(0, 300))
def test_any_line_is_drawn_without_what_drives_a_terminal(text: str, start: int, length: int) -> None:
    line = text.replace("\n", "").rstrip("\r")
    shown, below = drawn(line, min(start, len(line)), min(start + length, len(line)))
    assert shown.isprintable()
    assert set(below) <= {" ", "^"}
    assert "^" in below


@pytest.mark.parametrize("joined", ["e\u0301", "\u1112\u1161\u11ab", "日\u3099", "\u0e01\u0e34"])
def test_a_combining_character_is_underlined_where_it_is_drawn(joined: str) -> None:
    _, whole = drawn(f"ab{joined}cd", 2, 2 + len(joined))
    _, last = drawn(f"ab{joined}cd", 1 + len(joined), 2 + len(joined))
    assert last == whole


def test_a_longer_text_is_shortened_at_either_end() -> None:
    assert (shortened("abc", 3), shortened_left("abc", 3)) == ("abc", "abc")
    assert (shortened("abcd", 3), shortened_left("abcd", 3)) == ("abc…", "…bcd")
