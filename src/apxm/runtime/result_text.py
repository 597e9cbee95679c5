"""The text of a run's result, told in parts while it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class TextPart(NamedTuple):
    """A part of the text of a flow's result."""

    text: str
    anew: bool = False
    """Whether the text begins again with it, and what was told before is void: an attempt that failed had told
    something else."""


class ResultText:
    """What was told of the text. An attempt after one that failed tells nothing while it says the same."""

    def __init__(self, tell: Callable[[TextPart], None], may_tell: Callable[[], bool]) -> None:
        """`may_tell` says whether anything may be told yet; it stays true once it is."""
        self._tell = tell
        self._may_tell = may_tell
        self._told: list[str] = []
        """What was told and is not void."""
        self._before = ""
        """What of that was told before the text last came from its beginning."""
        self._again = 0
        """How many characters of that have come again."""
        self._held: list[str] = []

    def begin(self) -> None:
        """The text comes from its beginning."""
        self._before = "".join(self._told)
        self._told, self._again, self._held = [self._before], 0, []

    def add(self, text: str) -> None:
        """The next part."""
        self._held.append(text)
        if self._may_tell():
            text, self._held = "".join(self._held), []
            self._say(text)

    def end(self, text: str) -> None:
        """The text is whole, and this is it."""
        self.begin()
        self._say(text)
        if self._again < len(self._before):
            self._tell(TextPart(text, anew=True))

    def _say(self, text: str) -> None:
        repeated = self._before[self._again : self._again + len(text)]
        if not text.startswith(repeated):
            text = self._before[: self._again] + text
            self._told, self._before, self._again = [text], "", 0
            self._tell(TextPart(text, anew=True))
            return
        self._again += len(repeated)
        if text := text[len(repeated) :]:
            self._told.append(text)
            self._tell(TextPart(text))
