"""Answers that come in parts: which attempts of a run are made so, when the first part came, and who is told the text.

A run in which no answer does has none of this. Besides the instant of its first part and the time limit for that, such
an attempt is granted, paid for, journaled and made again as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any

from apxm.backends.protocol import Handle
from apxm.errors import OperationError
from apxm.program.tail import Tail
from apxm.runtime.defects import raised_by
from apxm.runtime.frames import Frame
from apxm.runtime.loops import TIMEOUT, RankedClock
from apxm.runtime.phases import SENT
from apxm.runtime.result_text import ResultText
from apxm.runtime.waiting import Call
from apxm.source import as_utf8


class Streams:
    """The streamed attempts of one run."""

    def __init__(
        self, clock: RankedClock, begin: Callable[[Call], None], tail: Tail | None, text: ResultText | None
    ) -> None:
        """`begin` begins an attempt. `text` is told the answers of the calls that are the `tail` of the run's flow."""
        self._clock = clock
        self._begin = begin
        self._tail = tail
        self._text = text

    def begin(self, call: Call) -> None:
        """Begins an attempt, and has its answer come in parts where somebody has a use for them."""
        text = None if self._tail is None or not _is_result(self._tail, call.frame, call.node) else self._text
        limit = call.operation.first_timeout_ns or call.provider.first_timeout_ns
        if text is not None or limit is not None:
            call.stream = _Stream(call, self._clock, limit, text)
        self._begin(call)


def _is_result(tail: Tail, frame: Frame | None, node: int) -> bool:
    """Whether what a node of a frame gives is the result of the flow."""
    while frame is not None:
        if not tail.gives(frame.plan.index, node):
            return False
        frame, node = frame.parent, frame.opener
    return True


class _Stream:
    """One attempt; also the handle that gives it up. An answer that comes whole is its own first part."""

    def __init__(self, call: Call, clock: RankedClock, limit: int | None, text: ResultText | None) -> None:
        self._call = call
        self._attempt = len(call.earlier)
        self._clock = clock
        self._limit = limit
        self._text = text
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._handle: Handle | None = None
        self._timer: Handle | None = None
        self._patience: asyncio.Timeout | None = None
        if text is not None:
            text.begin()

    # --- by callbacks ----------------------------------------------------------------------------------------------

    def begin(self, done: Callable[[Any], None]) -> Handle:
        provider, request, clock = self._call.provider, self._call.request, self._clock
        if self._limit is not None:
            self._timer = clock.call_at(clock.now() + self._limit, partial(self._expire, done), TIMEOUT)
        if provider.begin_stream is not None:
            self._handle = provider.begin_stream(request, clock, self._tell, partial(self._ended, done))
        elif provider.begin is not None:
            self._handle = provider.begin(request, clock, partial(self._ended, done))
        return self

    def cancel(self) -> None:
        self._in_time()
        if self._handle is not None:
            self._handle.cancel()

    def _ended(self, done: Callable[[Any], None], outcome: Any) -> None:
        if get_ident() == self._thread:
            self._in_time()
        done(outcome)

    def _expire(self, done: Callable[[Any], None]) -> None:
        if self._over or self._call.first is not None:
            return
        try:
            self.cancel()
        except Exception as error:  # its attempt is over all the same
            raised_by(self._call.provider, error)
        done(self._late())

    # --- in a task -------------------------------------------------------------------------------------------------

    async def call(self) -> object:
        provider, request = self._call.provider, self._call.request
        assert provider.call is not None
        made = provider.call(request) if provider.call_stream is None else provider.call_stream(request, self._tell)
        if self._limit is None:
            return await made
        try:
            async with asyncio.timeout(self._limit / 1e9) as self._patience:
                return await made
        except TimeoutError:
            if self._patience is not None and self._patience.expired():
                raise self._late() from None
            raise

    # --- parts -----------------------------------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        """Given to whoever answers."""
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a part of an answer that is a {type(text).__name__}, expected a str")
        if get_ident() == self._thread:
            self._told(text)
        else:
            self._loop.call_soon_threadsafe(self._told, text)

    def _told(self, text: str) -> None:
        if self._over:
            return
        if self._call.first is None:
            self._call.first = self._clock.now()
            self._in_time()
        if text and self._text is not None:
            self._text.add(as_utf8(text))

    @property
    def _over(self) -> bool:
        return self._call.phase is not SENT or len(self._call.earlier) != self._attempt

    def _in_time(self) -> None:
        """Nobody waits for the first part any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(None)

    def _late(self) -> OperationError:
        return self._call.provider.timeout((self._limit or 0) / 1e9, "first part of an answer")
