"""The names of values within one flow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from apxm.language.elsewhere import VALUES
from apxm.language.narrowing import Path
from apxm.language.report import UNKNOWN, Report
from apxm.language.syntax import Block, Identifier, Name
from apxm.operations.types import Type


class _Binding(NamedTuple):
    """A name that is bound, and what is known of its value."""

    name: Identifier
    type: Type
    blank: bool
    """Whether it is blank text in every run."""
    choices: tuple[str, ...]
    """The texts of which it is one in every run; empty where nothing says so."""


class _Block(NamedTuple):
    """The names of one block."""

    coming: dict[str, Identifier]
    """Every name that the block binds somewhere, at its first place."""
    bound: dict[str, _Binding]
    present: set[Path]
    """What is known not to be null from here to the end of the block."""


class Scopes:
    """Blocks within blocks. A name is visible from its binding to the end of its block, and hides nothing."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._blocks: list[_Block] = []
        self.names: set[str] = set()
        """All that have been bound so far, visible or not."""

    def enter(self, block: Block | None = None) -> None:
        coming: dict[str, Identifier] = {}
        for statement in block.statements if block else ():
            if statement.target is not None:
                coming.setdefault(statement.target.text, statement.target)
        self._blocks.append(_Block(coming, {}, set()))

    def leave(self) -> None:
        self._blocks.pop()

    def bind(self, name: Identifier, type: Type, *, blank: bool = False, choices: tuple[str, ...] = ()) -> None:
        self.names.add(name.text)
        earlier = self._find(name.text)
        if earlier is not None:
            message = f"`{name.text}` is already bound on line {earlier.name.span.line}; a name is bound once"
            self._report.error("already-bound", message, name.span)
            type = UNKNOWN
        self._blocks[-1].bound[name.text] = _Binding(name, type, blank, choices)

    def type_of(self, name: Name) -> Type:
        found = self._find(name.text)
        if found is not None:
            return found.type
        blocks = self._blocks[::-1]
        coming = next((b.coming[name.text] for b in blocks if name.text in b.coming), None)
        if coming is not None and coming.span.start > name.span.start:
            message = f"`{name.text}` is used before it is bound, on line {coming.span.line}"
            self._report.error("use-before-binding", message, name.span)
        else:
            visible = (bound for block in blocks for bound in reversed(block.bound))  # nearest first
            advice = VALUES.get(name.text.lower()) or self._report.near(name.text, visible)
            self._report.error("undefined-name", f"nothing here is named `{name.text}`", name.span, advice)
        return UNKNOWN

    def holds(self, name: str) -> bool:
        return self._find(name) is not None

    def assume(self, present: Iterable[Path]) -> None:
        """From here to the end of the innermost block these do not lead to null."""
        self._blocks[-1].present.update(present)

    def is_present(self, path: Path | None) -> bool:
        return any(path in block.present for block in self._blocks)

    def is_blank(self, name: str) -> bool:
        found = self._find(name)
        return found is not None and found.blank

    def choices(self, name: str) -> tuple[str, ...]:
        found = self._find(name)
        return () if found is None else found.choices

    def _find(self, name: str) -> _Binding | None:
        for block in reversed(self._blocks):
            if (found := block.bound.get(name)) is not None:
                return found
        return None
