"""Source text, places in it, and how a diagnostic about it is drawn."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Literal, NamedTuple


class SourceFile:
    """One file of AIS text."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        """The path as the user gave it; only ever shown."""
        self.text = text

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


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of one file."""

    source: SourceFile
    start: int
    end: int

    def first(self, length: int) -> Span:
        """The first `length` characters of the span."""
        return Span(self.source, self.start, self.start + length)

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

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


class Diagnostic(NamedTuple):
    """One thing to say about one place of the source."""

    severity: Literal["error", "warning", "note"]
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


def printable_lines(text: str) -> str:
    """A message that may quote a file or an answer: escaped line by line, later lines indented."""
    return "\n  ".join(printable(line) for line in text.splitlines())


def shortened(text: str, most: int) -> str:
    """`text`, or of a longer one its first `most` characters and an ellipsis."""
    return text if len(text) <= most else f"{text[:most]}…"


def shortened_left(text: str, most: int) -> str:
    """`text`, or of a longer one an ellipsis and its last `most` characters."""
    return text if len(text) <= most else f"…{text[-most:]}"


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold it. Half of a surrogate pair it cannot: Python reads a file's name with other bytes as
    such, and JSON can write one."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def as_utf8(text: str) -> str:
    """`text`, with U+FFFD for each half of a surrogate pair: it can be printed, journaled and sent on."""
    return text if is_utf8(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_LINE_WIDTH = 160
"""Characters of a line that are shown."""

_WITHOUT_SHAPE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]"
)
"""Characters that Python calls printable and that show nothing of their own: fillers, variation selectors and the skin
tones of emoji. Terminals disagree on how wide they leave what stands before them."""


def _shown_line(line: str, column: int, length: int) -> tuple[str, str]:
    """The line as shown and the underline below it; a very long line is cut to a window around the place.

    The underline is measured in columns of a terminal: a wide East Asian character takes two, a combining one none.
    """
    start = column - 1
    left = max(0, start - _LINE_WIDTH // 2) if len(line) > _LINE_WIDTH else 0
    window = line[left : left + _LINE_WIDTH]
    first, end = start - left, start - left + max(1, length)
    while first and first < len(window) and not _width(_expand(window[first])):
        first -= 1  # it is drawn into the character before it
    before, marked, after = _expand(window[:first]), _expand(window[first:end]), _expand(window[end:])
    cut_left = "…" if left else ""
    cut_right = "…" if left + _LINE_WIDTH < len(line) else ""
    indentation = _width(cut_left + before)
    underline = " " * indentation + "^" * max(1, _width(cut_left + before + marked) - indentation)
    return cut_left + before + marked + after + cut_right, underline


def _expand(text: str) -> str:
    """`text` so that every terminal shows it as wide as `_width` says."""
    return _WITHOUT_SHAPE.sub(_escape, printable(text.replace("\t", "    ")))


def _escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _width(text: str) -> int:
    """Columns of a terminal."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth  # takes 15 ms to load, and few sources need it

    return wcswidth(text)
