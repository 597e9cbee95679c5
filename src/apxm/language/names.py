"""Names that are declared."""

from __future__ import annotations

from apxm.language.report import Report
from apxm.language.syntax import Identifier


class Names:
    """The names that are declared in one place, each once."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._first: dict[str, Identifier] = {}

    def add(self, name: Identifier, kind: str) -> bool:
        """Whether it is new; where not, that is reported."""
        first = self._first.setdefault(name.text, name)
        if first is not name:
            message = f"the {kind} `{name.text}` is declared twice; the first is on line {first.span.line}"
            self._report.error("duplicate-name", message, name.span)
        return first is name
