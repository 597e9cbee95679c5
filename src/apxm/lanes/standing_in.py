"""What stands in for parts of the process while flows run: standard output and standard error, what makes records of
logs, `time.sleep`, what event loops wait in, and special methods of the user's classes.

Code that no lane runs, in other threads for instance, gets what was there before.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from logging import LogRecord
from selectors import DefaultSelector
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from greenlet import getcurrent

from apxm.forks import ProcessLock, tell_of_forks
from apxm.kept import KeptByFunctions
from apxm.lanes.lane import LANE
from apxm.lanes.streams import LaneStream

Select = Callable[[int, float | None], bool]
"""Waits until a file can be read, or so many seconds are over; gives false where that is not for it to do."""


class LaneOutput(LaneStream):
    """Standard output: what a lane writes comes at its turn."""

    def write(self, text: str) -> int:
        lane = LANE.get()
        if lane is None:
            return self.stream.write(text)
        lane.write(text)
        return len(text)

    def flush(self) -> None:
        lane = LANE.get()
        if lane is None or lane.has_turn:
            self.stream.flush()


class LaneErrors(LaneStream):
    """Standard error: what a lane writes comes at once, each line behind the name of its iteration."""

    def write(self, text: str) -> int:
        lane = LANE.get()
        name = "" if lane is None else lane.name
        if lane is None or not name or not text:
            return self.stream.write(text)
        if not lane.in_line and not text.startswith(("\r", "\n")):
            self.stream.write(f"[{name}] ")
        lane.in_line = not text.endswith("\n")
        return self.stream.write(text)


def _naming(make: Callable[..., LogRecord]) -> Callable[..., LogRecord]:
    """Makes records of logs whose `threadName` is the iteration's, where a lane makes them."""

    def made(*arguments: Any, **named: Any) -> LogRecord:
        record, lane = make(*arguments, **named), LANE.get()
        if lane is not None and lane.name:
            record.threadName = lane.name
        return record

    return made


SLEEP = time.sleep
_SELECT = DefaultSelector.select


class _StandIns:
    """Those of the process, while at least one flow runs."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._running = 0
        self._output: LaneOutput | None = None
        self._errors: LaneErrors | None = None
        self._make_record: Callable[..., LogRecord] = LogRecord
        self._attributes: KeptByFunctions[WeakKeyDictionary[type, dict[str, tuple[object, object]]]] = KeptByFunctions(
            "stand_ins"
        )
        """By class and name what is there, and what stands in for it: that calls a function which is there."""
        tell_of_forks(self)

    def forked(self) -> None:
        """No flow runs here any more."""
        self._running = 0
        self._restore()

    def begin(self, sleep: Callable[[float], None], select: Select) -> LaneOutput:
        with self._lock:
            self._running += 1
            if self._output is None:
                self._output = LaneOutput(sys.stdout)
                self._errors = LaneErrors(sys.stderr)
                sys.stdout = self._output  # type: ignore[assignment]  # it has all that the stream behind it has
                sys.stderr = self._errors  # type: ignore[assignment]  # as above
                self._make_record = logging.getLogRecordFactory()
                logging.setLogRecordFactory(_naming(self._make_record))
                time.sleep = _in_lanes(sleep)
                DefaultSelector.select = _selecting(select)
                self._exchange(0, 1)
            return self._output

    def add(self, made: type, name: str, stand_in: object, function: FunctionType) -> None:
        """Lets something stand in for an attribute of a class, in which a function of the user's is."""
        with self._lock:
            classes = self._attributes.get(function)
            if classes is None:
                classes = self._attributes[function] = WeakKeyDictionary()
            classes.setdefault(made, {})[name] = vars(made)[name], stand_in
            if self._running:
                type.__setattr__(made, name, stand_in)

    def _exchange(self, old: int, new: int) -> None:
        for made, attributes in [pair for classes in self._attributes.values() for pair in [*classes.items()]]:
            for name, pair in [*attributes.items()]:
                if vars(made).get(name) is pair[old]:
                    type.__setattr__(made, name, pair[new])
                else:
                    del attributes[name]  # somebody has put something else there meanwhile

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                self._restore()

    def _restore(self) -> None:
        if self._output is None:
            return
        if sys.stdout is self._output:
            sys.stdout = self._output.stream
        if self._errors is not None and sys.stderr is self._errors:
            sys.stderr = self._errors.stream
        logging.setLogRecordFactory(self._make_record)
        time.sleep = SLEEP
        DefaultSelector.select = _SELECT
        self._exchange(1, 0)
        self._output = None


_STAND_INS = _StandIns()


def stand_in(made: type, name: str, other: object, function: FunctionType) -> None:
    """While flows run, `other` is what a class of the user's has by a name, where else a `function` of the user's is,
    or what calls that."""
    _STAND_INS.add(made, name, other, function)


def _in_lanes(sleep: Callable[[float], None]) -> Callable[[Any], None]:
    def asleep(seconds: Any) -> None:
        lane = LANE.get()
        # A thread may have been given the lane's context.
        (SLEEP if lane is None or getcurrent() is not lane.greenlet else sleep)(seconds)

    return asleep


def _selecting(select: Select) -> Any:
    """What an event loop that a lane has begun waits in."""

    def selecting(selector: Any, timeout: float | None = None) -> Any:
        if LANE.get() is None or (timeout is not None and timeout <= 0):
            return _SELECT(selector, timeout)
        return _SELECT(selector, 0) or _SELECT(selector, 0 if select(selector.fileno(), timeout) else timeout)

    return selecting


@contextmanager
def standing_in(sleep: Callable[[float], None], select: Select) -> Generator[Callable[[str], object]]:
    """While a flow runs; gives what writes to the output that was there before. `sleep` and `select` are for lanes."""
    output = _STAND_INS.begin(sleep, select)
    try:
        yield output.stream.write
    finally:
        _STAND_INS.end()
