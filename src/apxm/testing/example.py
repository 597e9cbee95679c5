"""An example of a flow: a call, what models answer in it, and what is expected (docs/testing.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from apxm.operations.types import Value
from apxm.source import Diagnostic, Span, shortened

CODE = "example"
"""The code of every diagnostic about an example."""
_COMMENT = re.compile(r"\n[ \t]*//")
_LONGEST_CALL = 70


@dataclass(frozen=True)
class Example:
    """A call of a flow, what models answer in it, and what is expected of it."""

    span: Span
    """The call."""
    flow: str
    """``flow`` or ``Agent.flow``."""
    values: tuple[Value, ...]
    named: dict[str, Value]
    clauses: dict[str, Clause] = field(default_factory=dict[str, "Clause"])

    @property
    def call(self) -> str:
        """The call as it is written, on one line."""
        written = self.span.source.text[self.span.start : self.span.end]
        return shortened(" ".join(_COMMENT.sub(" ", written).split()), _LONGEST_CALL)

    def clause(self, word: str, otherwise: object = None) -> object:
        """What a clause says, or `otherwise` where there is none."""
        found = self.clauses.get(word)
        return otherwise if found is None else found.value


@dataclass(frozen=True)
class Clause:
    """``gives "…"``: what is expected, or how it is run."""

    span: Span
    value: object


class MalformedExample(Exception):  # noqa: N818  # the command tells it as a diagnostic
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
