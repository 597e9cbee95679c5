"""The transport beneath the SDKs of others: their calls of models become those of a run, where they are made in one.

It is a transport as httpx and httpx2 take it, whether there is an event loop or not. In a lane a call of a model is
asked as `ask` asks, and parks its lane; a coroutine of an event loop in a lane waits for it in that loop. Anywhere
else, and for whatever is no call of a model, it sends what it is given, and gives back what comes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from functools import cache, partial
from hashlib import blake2b
from types import FrameType, ModuleType
from typing import Any

import msgspec
from msgspec.structs import replace

from apxm.backends.exchange import HttpAnswer, HttpRequest, Parts, RefusedCall, may_be_call, model_call
from apxm.effects.users import is_users
from apxm.errors import ApxmError, OperationError, UsageError
from apxm.lanes.lane import Lane
from apxm.lanes.places import site_of
from apxm.lanes.run import RUN, Asked, LaneRun, Site
from apxm.lanes.running import TRANSPORTS, lane_here
from apxm.runtime.handlers.http import HttpCall, answer_of
from apxm.runtime.inner_loops import can_park
from apxm.sdks.httpx_like import Body, WholeBody, error, fields_of, library_of, response, timeout_of
from apxm.sdks.passing_on import PassingOn
from apxm.sdks.simulated import SimulatedCall

_NOT_AGAIN = ("x-should-retry", "false")
"""What tells an SDK that a call which failed is not worth another attempt: those it was worth have been made."""
_DIGEST = 3
"""Bytes of a digest that tell apart what one line asks at a time."""


def transport() -> Transport:
    """What lets the calls of models that an SDK makes be those of a run.

    ``httpx.Client(transport=apxm.transport())`` goes through it, and so does an `AsyncClient`, of httpx or of httpx2:
    in a flow with its limits, retries, budget and journal, and as if it were not there anywhere else.
    """
    return Transport()


class Transport:
    """See `transport`."""

    def __init__(self) -> None:
        self._plain = PassingOn()
        TRANSPORTS.add(self)

    def handle_request(self, request: Any) -> Any:
        """The response to a request. Raises what the library has for what goes wrong."""
        library, content = library_of(request), request.read()
        lane = lane_here()
        if lane is None:
            pass_by(request)
            return self._plain.send_blocking(library, request, content)
        call, run = _call(request, content), RUN.get()
        if call is None:
            return run.thread(lane, partial(self._plain.send_blocking, library, request, content))
        asked, parts = _asked(run, lane, call), call.sent.parts
        while parts is not None and parts.status is None and not asked.over:
            _pause(run, lane, asked, parts)
        return _given(library, request, run, asked, parts)

    async def handle_async_request(self, request: Any) -> Any:
        """As `handle_request`, in an event loop."""
        library, content = library_of(request), await request.aread()
        lane = lane_here()
        call = None if lane is None else _call(request, content)
        if lane is None or call is None:
            pass_by(request)
            return await self._plain.send(library, request, content)
        run = RUN.get()
        asked, parts = _asked(run, lane, call, concurrent=True), call.sent.parts
        if not can_park():  # all that waits in this loop waits with it
            return _whole(library, request, run, asked)
        while not asked.over and (parts is None or parts.status is None):
            await _more(run, lane, asked, parts)
        return _given(library, request, run, asked, parts)

    def close(self) -> None:
        """Does nothing: connections stay with the process, for whoever calls the same endpoint next."""

    async def aclose(self) -> None:
        """As `close`."""

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def is_asked_here(request: Any = None) -> bool:
    """Whether a request is a call of a model that a lane makes; without one, whether a lane runs this at all."""
    if lane_here() is None:
        return False
    return request is None or may_be_call(request.method, str(request.url))


def pass_by(request: Any, script: LaneRun | None = None) -> None:
    """Tells the run of which a request is no part of it, if it is a call of a model that the run's program makes in
    another thread; in a process that runs a `script`, all threads are of that. Raises `UsageError` where the run is a
    simulated one."""
    run = RUN.get(script)
    if run is not None and lane_here() is None and may_be_call(request.method, str(request.url)):
        frame = _user_frame()
        run.passed_by("" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}")


# --- asking --------------------------------------------------------------------------------------------------------


def _call(request: Any, content: bytes) -> HttpRequest | None:
    return model_call(request.method, str(request.url), fields_of(request), content, timeout_of(request))


def _asked(run: LaneRun, lane: Lane, request: HttpRequest, *, concurrent: bool = False) -> Asked:
    """Makes a call of a lane, which may make others before it is over where that is `concurrent`."""
    call = SimulatedCall(request) if run.simulates else HttpCall(request)
    site = _site(lane)
    if concurrent:
        # Which of them comes first may be another one each time: so what is asked is part of where it is.
        digest = blake2b(msgspec.msgpack.encode(request), digest_size=_DIGEST).hexdigest()
        site = replace(site, path=f"{site.path}~{digest}")
    try:
        return run.ask(lane, call, [], call.name, site)
    except OperationError:
        raise
    except ApxmError as flaw:
        # An SDK takes what is raised beneath it for a lost connection, and asks again.
        run.hub.abort(flaw)
        lane.park()
        raise


def _site(lane: Lane) -> Site:
    """The line of the user's that asks."""
    frame = _user_frame()
    return Site(f"{lane.path_prefix}sdk", 0) if frame is None else site_of(lane, frame)


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)  # pyright: ignore[reportPrivateUsage] - who asks
    while frame is not None and not _is_users(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


_is_users = cache(is_users)


# --- answers -------------------------------------------------------------------------------------------------------


def _given(library: ModuleType, request: Any, run: LaneRun, asked: Asked, parts: Parts | None) -> Any:
    """The response that an answer is, whether it is whole or has just begun."""
    if parts is not None and parts.status is not None:
        return response(library, parts.status, parts.headers, _Stream(library, request, run, asked, parts))
    return _whole(library, request, run, asked)


def _whole(library: ModuleType, request: Any, run: LaneRun, asked: Asked) -> Any:
    try:
        found = answer_of(run.answer(asked))
    except RefusedCall as refused:
        found = refused.answer
        others = tuple(field for field in found.headers if field[0].lower() != _NOT_AGAIN[0])
        found = HttpAnswer(found.status, (*others, _NOT_AGAIN), found.body)
    except OperationError as failed:
        raise error(library, failed, request) from None
    return response(library, found.status, found.headers, WholeBody(found.body))


class _Stream(Body):
    """An answer that a lane is given as it comes. Its end comes when the journal has all of it."""

    def __init__(self, library: ModuleType, request: Any, run: LaneRun, asked: Asked, parts: Parts) -> None:
        self._library = library
        self._request = request
        self._run = run
        self._asked = asked
        self._parts = parts

    def pieces(self) -> Iterator[bytes]:
        while True:
            while self._parts.pieces:
                yield self._parts.pieces.popleft()
            if self._asked.over:
                self._end()
                return
            _pause(self._run, self._reader, self._asked, self._parts)

    async def pieces_async(self) -> AsyncIterator[bytes]:
        while True:
            while self._parts.pieces:
                yield self._parts.pieces.popleft()
            if self._asked.over:
                self._end()
                return
            await _more(self._run, self._reader, self._asked, self._parts)

    def close(self) -> None:
        lane = self._leave()
        while lane is not None and not self._asked.over:
            _pause(self._run, lane, self._asked, self._parts)

    async def aclose(self) -> None:
        lane = self._leave()
        while lane is not None and not self._asked.over:
            await _more(self._run, lane, self._asked, self._parts)

    def _leave(self) -> Lane | None:
        """Takes what came so far for all of it. Gives who waits for that; None where nobody has to."""
        lane = lane_here()
        if self._asked.over or lane is None or lane.cancelled:
            return None
        self._parts.close()
        return lane

    def _end(self) -> None:
        try:
            self._run.taken(self._asked)
        except OperationError as failed:
            raise error(self._library, failed, self._request) from None

    @property
    def _reader(self) -> Lane:
        lane = lane_here()
        if lane is None:
            raise UsageError(
                "an answer that a lane is given in parts is read elsewhere",
                hint="read it in the lane that asked, not in another thread",
            )
        return lane


def _pause(run: LaneRun, lane: Lane, asked: Asked, parts: Parts) -> None:
    """Waits in a lane until there is more."""
    asked.then = parts.told = partial(run.stir, lane)
    run.pause(lane)


async def _more(run: LaneRun, lane: Lane, asked: Asked, parts: Parts | None) -> None:
    """Waits in an event loop of a lane until there is more."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not waiting.done() and not loop.is_closed():
            waiting.set_result(None)
        run.stir(lane)

    asked.then = tell
    if parts is not None:
        parts.told = tell
    try:
        await waiting
    except asyncio.CancelledError:
        run.drop(asked)
        raise
