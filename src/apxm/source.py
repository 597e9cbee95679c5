"""Source text, places in it, and how a diagnostic about it is drawn."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Literal


@dataclass(frozen=True, eq=False)
class SourceFile:
    """One file of AIS text."""

    path: str
    """As the user gave it; only ever shown."""
    text: str

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of the first character of each line; only ``\\n`` ends a line."""
        starts = [0]
        find = self.text.find
        position = find("\n")
        while position >= 0:
            starts.append(position + 1)
            position = find("\n", position + 1)
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both from 1; columns count characters."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its end."""
        starts = self.line_starts
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r")


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (exclusive) of one file."""

    source: SourceFile
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def place(self) -> str:
        """``path:line:column``, as editors and terminals understand it."""
        line, column = self.source.position(self.start)
        return f"{printable(self.source.path)}:{line}:{column}"


@dataclass(frozen=True)
class Diagnostic:
    """One thing to say about one place of the source."""

    severity: Literal["error", "warning"]
    code: str
    """A stable name in kebab case, such as ``undefined-name``; docs/language.md lists them."""
    message: str
    span: Span
    help: str | None = None

    def render(self) -> str:
        """``path:line:column: error[CODE]: message``, the line with the place underlined, and a ``help:`` line."""
        span = self.span
        line_number, column = span.source.position(span.start)
        shown = _shown_line(span.source.line(line_number), column, span.end - span.start)
        gutter = str(line_number)
        blank = " " * len(gutter)
        lines = [
            f"{span.place}: {self.severity}[{self.code}]: {printable(self.message)}",
            f" {gutter} | {shown[0]}",
            f" {blank} | {shown[1]}",
        ]
        if self.help:
            lines.append(f" {blank} help: {printable(self.help)}")
        return "\n".join(lines)


def printable(text: str) -> str:
    """`text` with control characters escaped, so that a file or an answer cannot drive the terminal it is shown on."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold it. Half of a surrogate pair it cannot: Python reads a file's name with other bytes as
    such, and JSON can write one."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


_LINE_WIDTH = 160


def _shown_line(line: str, column: int, length: int) -> tuple[str, str]:
    """The line as shown and the underline below it; a very long line is cut to a window around the place."""
    start = column - 1
    left = max(0, start - _LINE_WIDTH // 2) if len(line) > _LINE_WIDTH else 0
    window = line[left : left + _LINE_WIDTH]
    before = _expand(window[: start - left])
    marked = _expand(window[start - left : start - left + max(1, length)])
    after = _expand(window[start - left + max(1, length) :])
    cut_left = "…" if left else ""
    cut_right = "…" if left + _LINE_WIDTH < len(line) else ""
    underline = " " * (len(cut_left) + len(before)) + "^" * max(1, len(marked))
    return cut_left + before + marked + after + cut_right, underline


def _expand(text: str) -> str:
    return printable(text.replace("\t", "    "))
