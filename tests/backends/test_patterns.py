"""Texts that patterns match."""

from __future__ import annotations

import re
from random import Random

import pytest

from apxm.backends.patterns import PatternError, text_matching

PATTERNS = [
    "",
    "^$",
    "abc",
    "a.c",
    "a|bc|",
    r"^\d{3}-\d{4}$",
    r"^[A-Z][a-z_\-]{2,5}(foo|bar)?$",
    r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
    r"^#(?:[0-9a-fA-F]{3}){1,2}$",
    r"^(?P<x>a)+b*?$",
    r"^(?=ab)",
    "[]a]",
    "[a-]",
    "{x}",
    "a{,3}",
    "^[à-ü]+$",
    r"\x41\u0042\.\\\/",
    r"\bword\b",
    r"^\w+\W\S\D$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_it_is_found_in_the_text(pattern: str) -> None:
    texts = [text_matching(pattern, Random(seed)) for seed in range(30)]
    if "(?=" not in pattern:  # taken as true
        assert all(re.search(pattern, text) for text in texts)
    assert texts == [text_matching(pattern, Random(seed)) for seed in range(30)]


@pytest.mark.parametrize(
    "pattern", ["(", "a)", "[", "[^", "\\", "a**", "*", r"(a)\1", r"\p{L}", "(?i)a", "a{99999}" * 9]
)
def test_one_that_is_not_understood(pattern: str) -> None:
    with pytest.raises(PatternError):
        text_matching(pattern, Random(0))
