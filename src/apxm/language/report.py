"""Where the diagnostics of one source are collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
        self._errors: dict[tuple[str, int, int], Diagnostic] = {}
        """By kind and place: a second error of one kind at one place is a consequence of the first."""
        self._warnings: list[Diagnostic] = []

    def error(self, code: str, message: str, span: Span, help: str | None = None) -> None:
        assert code in CODES, code
        self._errors.setdefault((code, span.start, span.end), Diagnostic("error", code, message, span, help))

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
        return any(error.span.line == line for error in self._errors.values())

    @property
    def full(self) -> bool:
        return len(self._errors) >= MOST_ERRORS

    @property
    def failed(self) -> bool:
        return bool(self._errors)

    def bookmark(self) -> Callable[[], None]:
        """What takes back all that is reported from now on, for who looks at a part of the source a second time."""
        errors, warnings = dict(self._errors), list(self._warnings)

        def forget() -> None:
            self._errors, self._warnings = errors, warnings

        return forget

    def raise_errors(self) -> None:
        if self._errors:
            ordered = sorted(self._errors.values(), key=lambda d: (d.span.start, d.span.end))
            raise SourceError(tuple(ordered[:MOST_ERRORS]))

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted(self._warnings, key=lambda d: d.span.start))
