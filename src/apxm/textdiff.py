"""What differs between two texts, in few lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from os.path import commonprefix

from apxm.source import shortened

MOST_LINES = 12
_WIDTH = 100
_BEFORE = 30
"""Characters of a long line that are shown before its first difference."""


def changes(before: str, after: str) -> list[str]:
    """Lines that begin with ``-`` for what only `before` has, with ``+`` for what only `after` has; empty for equal
    texts."""
    if before == after:
        return []
    if before.splitlines() == after.splitlines():  # they differ in how their lines end
        before, after = repr(before), repr(after)
    found = list(_differences(before.splitlines(), after.splitlines()))
    return found if len(found) <= MOST_LINES else [*found[:MOST_LINES], f"… {len(found) - MOST_LINES} lines more"]


def _differences(before: list[str], after: list[str]) -> Iterator[str]:
    from difflib import SequenceMatcher  # only where something differs

    for kind, a, a_end, b, b_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        removed, added = before[a:a_end], after[b:b_end]
        for number in range(max(len(removed), len(added))):
            pair = [lines[number] for lines in (removed, added) if number < len(lines)]
            shared = len(commonprefix(pair)) if len(pair) > 1 else 0  # noqa: RUF071  # characters are meant
            if number < len(removed):
                yield f"- {_around(removed[number], shared)}"
            if number < len(added):
                yield f"+ {_around(added[number], shared)}"


def _around(line: str, place: int) -> str:
    """A line, of a long one what is around `place`."""
    if len(line) <= _WIDTH:
        return line
    start = max(0, place - _BEFORE)
    return ("…" if start else "") + shortened(line[start:], _WIDTH)
