"""Text to syntax tree."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NoReturn

from apxm.garbage import without_collector
from apxm.language.builder import Builder
from apxm.language.lalr import Machine, Rules
from apxm.language.report import Report, reject
from apxm.language.syntax import SyntaxTree
from apxm.reading import read_named
from apxm.source import SourceFile, Span

LARGEST_SOURCE = 2 * 1024 * 1024
"""Bytes of one file. Parsing costs about 60 microseconds and 2 KB per operation, so this is seconds, not minutes."""
DEEPEST_NESTING = 64
"""Brackets within brackets. Recursion in the compiler is bounded by it."""

_BRACKETS = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"""|\Z)|"(?:[^"\\\n]++|\\[^\n])*+"?|//[^\n]*+|/\*.*?(?:\*/|\Z)|[(\[{]|[)\]}]',
    re.DOTALL,
)


def read_source(path: str | Path) -> SourceFile:
    """The file at `path`, which must be UTF-8, with or without a byte order mark.

    Raises `UsageError` where there is no such file or it cannot be read, `SourceError` where its content is no source.
    """
    shown = str(path)
    content = read_named(path, LARGEST_SOURCE + len(BOM_UTF8) + 1)
    content = content.removeprefix(BOM_UTF8)
    if len(content) > LARGEST_SOURCE:
        _reject_size(SourceFile(shown, content.decode(errors="replace")))
    try:
        return SourceFile(shown, content.decode())
    except UnicodeDecodeError as error:
        source = SourceFile(shown, content.decode(errors="replace"))
        offset = len(content[: error.start].decode())
        message = f"the byte 0x{content[error.start]:02x} here is not UTF-8"
        reject("not-utf8", message, Span(source, offset, offset + 1), "save the file as UTF-8")


def parse(source: SourceFile) -> SyntaxTree:
    """The tree of `source`. Raises `SourceError` with all syntax errors, at most 20."""
    _check_size(source)
    _check_depth(source)
    report = Report()
    with without_collector():
        machine = Machine(_rules(), Builder(source, report), source.text)
        if not machine.run():
            from apxm.language.recovery import Recovery  # most sources are right

            Recovery(source, report).finish(machine)
    report.raise_errors()
    tree = machine.values[0]
    assert isinstance(tree, SyntaxTree)
    return tree


@cache
def _rules() -> Rules:
    return Rules(Builder)


def _check_size(source: SourceFile) -> None:
    try:
        size = len(source.text.encode())
    except UnicodeEncodeError as error:
        span = Span(source, error.start, error.start + 1)
        reject("not-utf8", "half of a surrogate pair is no character, and cannot be stored as UTF-8", span)
    if size > LARGEST_SOURCE:
        _reject_size(source)


def _reject_size(source: SourceFile) -> NoReturn:
    message = f"the source is larger than the limit of {LARGEST_SOURCE // 1024 // 1024} MiB"
    reject("too-large", message, Span(source, 0, 0))


def line_comments(source: SourceFile) -> Iterator[Span]:
    """The comments of a source that begin with ``//``, in their order."""
    for match in _BRACKETS.finditer(source.text):
        if match.group().startswith("//"):
            yield Span(source, match.start(), match.end())


def _check_depth(source: SourceFile) -> None:
    """Counted before parsing: the tree is walked recursively later."""
    depth = 0
    for match in _BRACKETS.finditer(source.text):
        first = match.group()[0]
        if first in "([{":
            depth += 1
            if depth > DEEPEST_NESTING:
                message = f"brackets nest deeper than the limit of {DEEPEST_NESTING}"
                reject("too-deep", message, Span(source, match.start(), match.end()))
        elif first in ")]}":
            depth = max(0, depth - 1)
