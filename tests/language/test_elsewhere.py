"""What other languages write: the tables of help hold nothing that AIS has, and say nothing that it has not."""

import re
from collections.abc import Mapping

import pytest

from apxm.language import elsewhere, later
from apxm.language.lalr import RESERVED_WORDS
from apxm.operations.catalog import OPERATIONS
from apxm.operations.types import BUILT_IN, SCALARS

TABLES = {
    name: table for name, table in vars(elsewhere).items() if isinstance(table, Mapping) and not name.startswith("__")
}
HELP = sorted({advice for table in TABLES.values() for advice in table.values() if " " in advice})


def test_no_table_explains_away_what_is_correct() -> None:
    assert not elsewhere.TYPES.keys() & {*SCALARS, *BUILT_IN, "list"}
    assert not elsewhere.WORDS.keys() & (RESERVED_WORDS | OPERATIONS.keys())
    assert not (elsewhere.CALLS.keys() | later.OPERATIONS) & OPERATIONS.keys()
    assert not elsewhere.CALLS.keys() & later.OPERATIONS
    for operation, name in elsewhere.SAME_ARGUMENTS:
        assert name not in OPERATIONS[operation].by_name


@pytest.mark.parametrize("advice", HELP)
def test_help_quotes_what_it_names_and_is_one_line(advice: str) -> None:
    assert advice.count("`") % 2 == 0
    assert "\n" not in advice
    called = set(re.findall(r"`(\w+)\([^`]*\)`", advice))
    coming = later.OPERATIONS if "later version" in advice else set()
    assert called <= OPERATIONS.keys() | coming | {"flow"}
