"""What stands in for parts of the process while flows run: standard output, and `time.sleep`.

Code that no lane runs, in other threads for instance, gets what was there before.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, TextIO

from apxm.lanes.lane import LANE


class LaneOutput:
    """Standard output: what a lane writes comes at its turn. Everything else is that of the stream behind it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        lane = LANE.get()
        if lane is None:
            return self.stream.write(text)
        lane.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        lane = LANE.get()
        if lane is None or lane.has_turn:
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_lock = threading.Lock()
_running = 0
_output: LaneOutput | None = None
SLEEP = time.sleep


def _in_lanes(sleep: Callable[[float], None]) -> Callable[[Any], None]:
    def asleep(seconds: Any) -> None:
        (SLEEP if LANE.get() is None else sleep)(seconds)

    return asleep


@contextmanager
def standing_in(sleep: Callable[[float], None]) -> Generator[Callable[[str], object]]:
    """While a flow runs; gives what writes to the output that was there before. `sleep` is for lanes."""
    global _running, _output
    with _lock:
        _running += 1
        if _output is None:
            _output = LaneOutput(sys.stdout)
            sys.stdout = _output  # type: ignore[assignment]  # it has all that the stream behind it has
            time.sleep = _in_lanes(sleep)
        output = _output
    try:
        yield lambda text: output.stream.write(text)
    finally:
        with _lock:
            _running -= 1
            if not _running:
                if sys.stdout is _output:
                    sys.stdout = output.stream
                time.sleep = SLEEP
                _output = None
