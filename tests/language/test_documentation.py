"""docs/language.md: its lists are those of the code. Its programs are checked with those of all pages."""

import re
from pathlib import Path

from apxm.language.codes import CODES
from apxm.language.lalr import RESERVED_WORDS
from apxm.operations.catalog import AVAILABLE, OPERATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "language.md").read_text(encoding="utf-8")


def test_the_table_of_errors_is_the_table_of_codes():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", PAGE.partition("## Errors")[2], re.MULTILINE)
    assert rows == list(CODES.items())


def test_the_reserved_words_are_listed():
    (listed,) = re.findall(r"Reserved words, which name nothing: (.*?)\. As a field", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == RESERVED_WORDS


def test_the_operations_of_later_versions_are_listed():
    (listed,) = re.findall(r"^- the operations (.*)$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", listed) == [name for name in OPERATIONS if name not in AVAILABLE]
