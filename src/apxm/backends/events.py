"""Server-sent events, as HTML's standard has them (9.2.6), out of bytes that come in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Event(NamedTuple):
    data: bytes
    name: bytes = b""
    """Empty where the event has none."""


class EventReader:
    """The events of one stream. Lines may end in any way, and a piece anywhere, within a character too."""

    def __init__(self) -> None:
        self._rest = bytearray()
        """The beginning of a line."""
        self._data: list[bytes] = []
        self._name = b""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that are whole now."""
        self._rest += piece
        if b"\n" not in piece and b"\r" not in piece:
            return
        lines = bytes(self._rest).splitlines(keepends=True)
        # A carriage return may be half of a line end.
        self._rest = bytearray() if lines[-1].endswith(b"\n") else bytearray(lines.pop())
        for line in lines:
            yield from self._line(line.rstrip(b"\r\n"))

    def end(self) -> Iterator[Event]:
        """What is left, as nothing follows: some servers leave out the last empty line."""
        for line in (*bytes(self._rest).splitlines(), b""):
            yield from self._line(line)

    def _line(self, line: bytes) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(b"\n".join(self._data), self._name)
            self._data, self._name = [], b""
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
