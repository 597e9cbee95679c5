"""docs/language.md: its programs are correct, and its lists are those of the code."""

import re
from pathlib import Path

import pytest

from apxm.language.codes import CODES
from apxm.language.lalr import RESERVED_WORDS
from apxm.operations.catalog import AVAILABLE, OPERATIONS
from tests.language.diagnostic_snippets import rendered

PAGE = (Path(__file__).parents[2] / "docs" / "language.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```ais\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.split()[1])
def test_a_program_of_the_page_is_correct(program: str):
    assert rendered(program) == "correct\n"


def test_the_table_of_errors_is_the_table_of_codes():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", PAGE.partition("## Errors")[2], re.MULTILINE)
    assert rows == list(CODES.items())


def test_the_reserved_words_are_listed():
    (listed,) = re.findall(r"Reserved words, which name nothing: (.*?)\. As a field", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == RESERVED_WORDS


def test_the_operations_of_later_versions_are_listed():
    (listed,) = re.findall(r"^- the operations (.*)$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", listed) == [name for name in OPERATIONS if name not in AVAILABLE]
