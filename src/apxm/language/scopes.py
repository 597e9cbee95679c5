"""The names of values within one flow."""

from __future__ import annotations

from collections.abc import Iterator

from apxm.language import later
from apxm.language.elsewhere import VALUES
from apxm.language.report import UNKNOWN, Report
from apxm.language.syntax import Block, Identifier, Name
from apxm.operations.types import Type


class _Block:
    """The names of one block."""

    def __init__(self, coming: dict[str, Identifier]) -> None:
        self.coming = coming
        """Every name that the block binds somewhere, at its first place."""
        self.bound: dict[str, tuple[Identifier, Type]] = {}
        self.blank: set[str] = set()
        """The names whose value is blank text in every run."""


class Scopes:
    """Blocks within blocks. A name is visible from its binding to the end of its block, and hides nothing."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._blocks: list[_Block] = []

    def enter(self, block: Block | None = None) -> None:
        coming: dict[str, Identifier] = {}
        for statement in block.statements if block else ():
            if statement.target is not None:
                coming.setdefault(statement.target.text, statement.target)
        self._blocks.append(_Block(coming))

    def leave(self) -> None:
        self._blocks.pop()

    def bind(self, name: Identifier, type: Type, *, blank: bool = False) -> None:
        earlier = self._find(name.text)
        if earlier is not None:
            message = f"`{name.text}` is already bound on line {earlier[0].span.line}; a name is bound once"
            self._report.error("already-bound", message, name.span)
            type = UNKNOWN
        self._blocks[-1].bound[name.text] = (name, type)
        if blank:
            self._blocks[-1].blank.add(name.text)

    def type_of(self, name: Name) -> Type:
        found = self._find(name.text)
        if found is not None:
            return found[1]
        coming = next((b.coming[name.text] for b in reversed(self._blocks) if name.text in b.coming), None)
        if coming is not None and coming.span.start > name.span.start:
            message = f"`{name.text}` is used before it is bound, on line {coming.span.line}"
            self._report.error("use-before-binding", message, name.span)
        else:
            self._undefined(name)
        return UNKNOWN

    def _undefined(self, name: Name) -> None:
        if name.text in later.VALUES:
            self._report.not_yet(name.text, name.span)
            return
        advice = VALUES.get(name.text.lower()) or self._report.near(name.text, self.visible())
        self._report.error("undefined-name", f"nothing here is named `{name.text}`", name.span, advice)

    def visible(self) -> Iterator[str]:
        """Nearest first."""
        for block in reversed(self._blocks):
            yield from reversed(block.bound)

    def holds(self, name: str) -> bool:
        return self._find(name) is not None

    def is_blank(self, name: str) -> bool:
        return any(name in block.blank for block in self._blocks)

    def _find(self, name: str) -> tuple[Identifier, Type] | None:
        for block in reversed(self._blocks):
            if (found := block.bound.get(name)) is not None:
                return found
        return None
