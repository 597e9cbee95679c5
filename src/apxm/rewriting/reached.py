"""Which promised loops a script came to, and whether they ran in lanes: a promise that changes nothing is a mistake."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence


class Reached:
    """What this process came to."""

    def __init__(self, directory: str = "") -> None:
        """`directory` is where the script began: files are shown as they are seen from there."""
        self._directory = directory
        self._loops: dict[str, Sequence[tuple[int, int]]] = {}
        """The first and last line of the head of each promised loop, by file, as its code names it."""
        self._begun: dict[str, dict[int, bool]] = {}
        """By file and line, whether in lanes."""

    def loaded(self, file: str, loops: Sequence[tuple[int, int]]) -> None:
        """A file is run that has promised loops, with their heads in these lines."""
        self._loops[file] = loops

    def begins(self, file: str, line: int, *, in_lanes: bool) -> None:
        """A loop over `each` begins there."""
        if file in self._loops:
            lines = self._begun.setdefault(file, {})
            lines[line] = in_lanes or lines.get(line, False)

    def idle(self, named: Iterable[tuple[str, int]]) -> Iterator[str]:
        """The promised loops that no lane ran, those that are `named` by real paths and lines included, and why."""
        for file, loops in self._loops.items():
            begun = self._begun.get(file, {})
            for first, last in loops:
                ran = [in_lanes for line, in_lanes in begun.items() if first <= line <= last]
                if not any(ran):
                    yield f"{self._shown(file)}:{first} ({'it ran outside of lanes' if ran else 'not reached'})"
        real = {os.path.realpath(file) for file in self._loops}
        for file, line in named:
            if file not in real:
                yield f"{self._shown(file)}:{line} (the file was not loaded)"

    def _shown(self, file: str) -> str:
        shown = os.path.relpath(file, self._directory) if self._directory else file
        return file if shown.startswith(os.pardir) else shown
