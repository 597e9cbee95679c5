"""Standard output and standard error as lanes have them: what code puts in their place holds in its lane alone."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Protocol

Streams = tuple[Any, Any]
"""Standard output, and standard error."""


class LaneStream:
    """A standard stream while flows run. What is not said here is as the stream behind it has it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    @abstractmethod
    def write(self, text: str) -> int: ...

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Iteration(Protocol):
    """What a lane is to the streams."""

    @property
    def has_turn(self) -> bool: ...
    def take_turn(self) -> None: ...
    def later(self, owner: None, function: Callable[..., object], *arguments: Any) -> None: ...


class KeptOutput(LaneStream):
    """What code around iterations has put in the place of standard output: it gets what they write at their turn."""

    def __init__(self, stream: Any, current: Callable[[], _Iteration | None]) -> None:
        super().__init__(stream)
        self._current = current

    def write(self, text: str) -> int:
        lane = self._current()
        if lane is None:
            return self.stream.write(text)
        lane.later(None, self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        lane = self._current()
        if (lane is None or lane.has_turn) and hasattr(self.stream, "flush"):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        lane = self._current()
        if lane is not None:
            lane.take_turn()  # who knows what is read there of what was written
        return super().__getattr__(name)


class OwnStreams:
    """Those of one lane: code that runs has them, and for others they are set aside."""

    __slots__ = ("_around", "_first", "_own")

    def __init__(self, opener: OwnStreams | None, current: Callable[[], _Iteration | None]) -> None:
        """A lane begins with those of its `opener`, whose code runs; `current` gives the lane that runs."""
        out, errors = sys.stdout, sys.stderr
        self._around: Streams = (out, errors)
        """What there is where its code does not run."""
        self._own: Streams | None = None
        """What there is where it runs; None where that is the same."""
        if opener is not None:
            if not isinstance(out, LaneStream):
                self._own = KeptOutput(out, current), errors
            elif out is not opener._around[0] or errors is not opener._around[1]:
                self._own = self._around
        self._first = self._own

    def put(self) -> None:
        """Its code goes on."""
        self._around = sys.stdout, sys.stderr
        if self._own is not None:
            sys.stdout, sys.stderr = self._own

    def set_aside(self) -> None:
        """Its code lets others go on."""
        if not _are(self._own or self._around):
            self._own = sys.stdout, sys.stderr
        if self._own is not None:
            sys.stdout, sys.stderr = self._around

    def leave(self, opener: OwnStreams) -> None:
        """Its code is over: what it has put in place, and left there, is there for what comes behind it."""
        if not _are(self._first or self._around):
            opener._own = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._around


def _are(streams: Streams) -> bool:
    return sys.stdout is streams[0] and sys.stderr is streams[1]
