"""The files that are spoken of, as people read them: by lines and characters."""

from __future__ import annotations

import linecache
from collections.abc import Mapping

from apxm.explaining.explanation import Spot
from apxm.explaining.shape import Place


class Sources:
    """Reads each of them once."""

    def __init__(self, shown: Mapping[str, str] | None = None) -> None:
        """`shown` are the names by which files are shown, where these are others."""
        self._lines: dict[str, list[str]] = {}
        self._shown = shown or {}

    def shown(self, file: str) -> str:
        return self._shown.get(file, file)

    def lines(self, file: str) -> list[str]:
        if file not in self._lines:
            self._lines[file] = [line.rstrip("\n") for line in linecache.getlines(file)]
        return self._lines[file]

    def spot(self, place: Place) -> Spot:
        return Spot(
            self.shown(place.file),
            place.line,
            self._column(place.file, place.line, place.start),
            place.end_line,
            self._column(place.file, place.end_line, place.end),
        )

    def _column(self, file: str, line: int, offset: int) -> int:
        lines = self.lines(file)
        text = lines[line - 1] if 0 < line <= len(lines) else ""
        return len(text.encode()[:offset].decode(errors="replace")) + 1
