"""Aligned columns of text. On a terminal no line is wider than it is: the terminal would break it anywhere."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from textwrap import wrap

from apxm.source import printable

_NUMBER = re.compile(r"[-+±]?[0-9][0-9,.]*( ?[^0-9].*)?|–")
"""What stands to the right in a table: numbers, with or without a unit; a dash where there is none."""
_NARROWEST = 20
"""Columns: on a terminal with fewer lines are broken all the same."""
_LEAST_TEXT = 24
"""Columns that a text is wrapped to, at least."""
_DEEPER = "    "
"""Indents what did not fit beside the cells before it."""


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """One line per row, columns as wide as their widest cell; what a cell quotes from elsewhere is escaped.

    On a terminal that is too narrow the last column is wrapped. Where it has too little room for that, the columns that
    do not fit beside those before them stand below them, in each row alike.
    """
    shown = [row if "".join(row).isprintable() else [*map(printable, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    room = _terminal_columns()
    if room is None or len(indent) + sum(widths) + 2 * (len(widths) - 1) <= room:
        return [_line(row, widths, indent) for row in shown]
    hanging = len(indent) + sum(width + 2 for width in widths[:-1])
    if room - hanging >= _LEAST_TEXT:
        return [line for row in shown for line in _hung(_line(row, widths, indent), hanging, room)]
    groups = _groups(widths, len(indent), room)
    lines: list[str] = []
    for row in shown:
        for number, (first, last) in enumerate(groups):
            deeper = indent + _DEEPER if number else indent
            text = _line(row[first:last], widths[first:last], deeper)
            if text.strip():
                lines += [text] if len(text) <= room else _wrapped(text, deeper, room)
    return lines


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table that reads as well in a terminal: padded, and the columns of numbers to the right. On a terminal
    that is too narrow for it, a block of lines per row instead."""
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    room = _terminal_columns()
    if room is not None and sum(widths) + 3 * len(widths) + 1 > room:
        return _blocks(headers, rows)
    right = [all(_NUMBER.fullmatch(cell) for cell in column[1:]) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = (
            f"{cell:>{width}}" if to_right else f"{cell:{width}}"
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        f"{'-' * (width + 1)}{':' if to_right else '-'}" for width, to_right in zip(widths, right, strict=True)
    )
    return [line(headers), f"|{rule}|", *map(line, rows)]


def paragraph(text: str) -> list[str]:
    """A text of ours as a line; on a terminal that is narrower, as several."""
    room = _terminal_columns()
    return [text] if room is None else wrap(text, room, break_on_hyphens=False) or [""]


def _terminal_columns() -> int | None:
    """How wide the terminal of standard output is, by COLUMNS or by what it says; None where it is no terminal."""
    if not sys.stdout.isatty():
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def _line(cells: Sequence[str], widths: Sequence[int], indent: str) -> str:
    return (indent + "  ".join(map(str.ljust, cells, widths))).rstrip()


def _groups(widths: Sequence[int], indent: int, room: int) -> list[tuple[int, int]]:
    """Which columns stand beside each other: first and behind the last of each group."""
    groups: list[tuple[int, int]] = []
    first, used = 0, indent
    for column, width in enumerate(widths):
        needed = width + (2 if column > first else 0)
        if column > first and used + needed > room:
            groups.append((first, column))
            first, used, needed = column, indent + len(_DEEPER), width
        used += needed
    return [*groups, (first, len(widths))]


def _hung(text: str, hanging: int, room: int) -> list[str]:
    """The lines of a text, what is behind the column `hanging` wrapped there."""
    lines = wrap(text[hanging:], room - hanging, break_on_hyphens=False)
    return [(text[:hanging] + lines[0]).rstrip(), *(" " * hanging + line for line in lines[1:])] if lines else [text]


def _wrapped(text: str, indent: str, room: int) -> list[str]:
    """The lines of a text, wrapped at spaces where there are some."""
    return wrap(text.strip(), room, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def _blocks(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        found = aligned([[header, cell] for header, cell in zip(headers, row, strict=True)], indent="  ")
        lines += [*([""] if lines else []), "-" + found[0][1:], *found[1:]]
    return lines
