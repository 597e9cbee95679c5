"""Comments that were meant as divisions: elsewhere `//` divides whole numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from apxm.language.parser import line_comments
from apxm.language.report import Report
from apxm.language.syntax import Expression
from apxm.operations.types import Type
from apxm.source import SourceFile

_OPERAND = re.compile(r"-?[\d.]+|[A-Za-z_][\w.]*|\([\w\s.+*/%-]+\)")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


def warn_of_divisions(source: SourceFile, types: Mapping[Expression, Type], names: Set[str], report: Report) -> None:
    """Warns of each comment that follows a number on its line and is an operand itself, of numbers and of the `names`
    of values that the line has not named yet."""
    for comment in line_comments(source):
        written = source.text[comment.start + len("//") : comment.end].strip()
        if _OPERAND.fullmatch(written) is None:
            continue
        before = source.text[source.text.rfind("\n", 0, comment.start) + 1 : comment.start]
        if not set(_NAME.findall(written)) <= names - set(_NAME.findall(before)):
            continue
        end = comment.start - len(before) + len(before.rstrip())
        if any(found.is_number and expression.span.end == end for expression, found in types.items()):
            message = f"`//` begins a comment, so `{written}` is no part of what stands before it"
            advice = "`/` divides, and gives a float; where a comment is meant, say it in words"
            report.warning("comment-operand", message, comment, advice)
