"""Where the diagnostics of one source are collected."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NoReturn

from apxm.errors import SourceError
from apxm.language.codes import CODES
from apxm.operations.types import Type
from apxm.source import Diagnostic, Span

MOST_ERRORS = 20
"""Errors shown at once; more help nobody."""

_MOST_CANDIDATES = 500
"""Names that a near name is looked for in: comparing is slow, and a generated file may hold a hundred thousand."""


def reject(code: str, message: str, span: Span, help: str | None = None) -> NoReturn:
    """Raises for an error that nothing can follow."""
    assert code in CODES, code
    raise SourceError((Diagnostic("error", code, message, span, help),))


UNKNOWN = Type("?")
"""The type of something that has been reported as wrong already. It fits everywhere, so one mistake is one error."""


class Report:
    def __init__(self) -> None:
        self._errors: list[Diagnostic] = []
        self._warnings: list[Diagnostic] = []
        self._lines: set[int] = set()
        self._places: set[tuple[str, int, int]] = set()
        """A second error of one kind at one place is a consequence of the first."""

    def error(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        assert code in CODES, code
        place = code, span.start, span.end
        if place not in self._places:
            self._places.add(place)
            self._errors.append(Diagnostic("error", code, message, span, help))
            self._lines.add(span.line)

    def warning(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        assert code in CODES, code
        self._warnings.append(Diagnostic("warning", code, message, span, help))

    def not_yet(self, what: str, span: Span, help: str | None = None) -> None:
        """Refuses by name what the language has and this version does not."""
        self.error("not-yet", f"`{what}` is part of AIS, but this version of apxm cannot run it yet", span, help)

    def near(self, name: str, known: Iterable[str]) -> str | None:
        """A help line with the name that was perhaps meant."""
        if self.full:
            return None
        from difflib import get_close_matches  # most sources are right

        matches = get_close_matches(name, islice(known, _MOST_CANDIDATES), n=1, cutoff=0.6)
        return f"did you mean `{matches[0]}`?" if matches else None

    def has_error_on(self, line: int) -> bool:
        return line in self._lines

    @property
    def full(self) -> bool:
        return len(self._errors) >= MOST_ERRORS

    @property
    def failed(self) -> bool:
        return bool(self._errors)

    def raise_errors(self) -> None:
        if self._errors:
            ordered = sorted(self._errors, key=lambda d: (d.span.start, d.span.end))
            raise SourceError(tuple(ordered[:MOST_ERRORS]))

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted(self._warnings, key=lambda d: d.span.start))
