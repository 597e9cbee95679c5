"""Aligned columns of text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apxm.source import printable

_NUMBER = re.compile(r"[-+±]?[0-9][0-9,.]*( ?[^0-9].*)?|–")
"""What stands to the right in a table: numbers, with or without a unit; a dash where there is none."""


def aligned(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """One line per row, columns as wide as their widest cell; what a cell quotes from elsewhere is escaped."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        (indent + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in shown
    ]


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table that reads as well in a terminal: padded, and the columns of numbers to the right."""
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
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
