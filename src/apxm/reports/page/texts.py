"""What calls asked and were answered, packed in pieces of which a browser unpacks the one that somebody looks at."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from apxm.backends.protocol import ModelRequest
from apxm.journal.rows import Answered
from apxm.operations.answers import UNFIT
from apxm.reports.call_log import Part, answer_parts, outcome_parts, request_parts
from apxm.runtime.observing import CallObserver, Outcome
from apxm.runtime.waiting import Call
from apxm.source import as_utf8
from apxm.tools.tool import Arguments

if TYPE_CHECKING:  # loads the HTTP client, which a simulated run can do without
    from apxm.backends.exchange import HttpRequest

PIECE = 256 * 1024
"""Characters of a piece, but for a longer text: to unpack it takes a browser some milliseconds."""
ENTRIES = 4096
"""Most entries of a piece. A place is its piece times this, plus its entry."""
MOST_BYTES = 96 * 1024 * 1024
"""Most bytes of all pieces, packed: a page that is larger takes long to load. What comes behind it is left out."""


class Texts:
    """The texts of calls by the paths of their operations: for each attempt what it asked, where that is not what the
    one before it asked, and what came of it."""

    def __init__(self) -> None:
        self.places: dict[str, list[int]] = {}
        """Where the entries of each path are."""
        self.left_out = 0
        """How many entries there was no room for."""
        self._pieces: list[bytes] = []
        self._size = 0
        self._entries: list[list[tuple[int, str, str]]] = []
        self._length = 0

    def add(self, path: str, attempt: int, parts: Sequence[Part]) -> None:
        """Keeps what an attempt, from 0, asked and was answered."""
        if self._size > MOST_BYTES:
            self.left_out += 1
            return
        self.places.setdefault(path, []).append(len(self._pieces) * ENTRIES + len(self._entries))
        self._entries.append([(attempt, as_utf8(name), as_utf8(text)) for name, text in parts])
        self._length += sum(len(text) for _, text in parts)
        if self._length >= PIECE or len(self._entries) == ENTRIES:
            self._pack()

    def pieces(self) -> list[bytes]:
        """All pieces: JSON in the format of zlib."""
        if self._entries:
            self._pack()
        return self._pieces

    def _pack(self) -> None:
        packed = zlib.compress(msgspec.json.encode(self._entries), 5)
        self._pieces.append(packed)
        self._size += len(packed)
        self._entries, self._length = [], 0


class CallTexts(CallObserver):
    """Keeps the texts of the calls of one run as they happen."""

    def __init__(self, texts: Texts, label: str = "") -> None:
        """`label` comes before each path: of which run it is, where `texts` are those of several."""
        self._texts = texts
        self._label = label
        self._asked: dict[str, list[Part]] = {}

    def began(self, path: str, call: Call) -> None:
        anew = not call.earlier or call.earlier[-1][4] == UNFIT  # else the request is that of the attempt before
        self._asked[path] = request_parts(call.request) if anew else []

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        del duration
        parts = [*self._asked.pop(path, []), *outcome_parts(outcome)]
        self._texts.add(self._label + path, len(call.earlier), parts)

    def reused(self, path: str, request: ModelRequest | Arguments | HttpRequest, result: Answered) -> None:
        self._texts.add(self._label + path, 0, [*request_parts(request), *answer_parts(result)])
