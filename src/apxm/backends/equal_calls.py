"""A backend that is asked once for what would be asked several times: calls that are equal in every byte, at the
temperature 0, where a model gives the same answer again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol, cast

import msgspec
from msgspec.structs import replace

from apxm.backends.answers import Answers
from apxm.backends.protocol import AnyBackend, Clock, Handle, ModelAnswer, ModelRequest, Tell, Usage

_encode = msgspec.msgpack.Encoder().encode
_NOTHING_USED = Usage(0, 0)

Done = Callable[[Any], None]


class Claims(Protocol):
    """Who knows what other processes ask."""

    async def claim(self, key: bytes) -> ModelAnswer | None:
        """The answer that another process has, or waits for; None where there is none, and it is for this one to ask:
        then nobody else does until `settle`."""
        ...

    def settle(self, key: bytes, answer: ModelAnswer | None) -> None:
        """What was claimed has this answer, or none."""
        ...


class EqualCalls:
    """Of the style of the backend that it stands for, and all that one says else.

    What is asked while an equal call is in flight waits for its answer. Where that call fails, or is given up, the next
    of them is made. Answers that come in parts are shared only once they are there.
    """

    def __init__(self, backend: AnyBackend, answers: Answers, *parts: object, claims: Claims | None = None) -> None:
        """`parts` tell its answers from those of other backends in the same `answers`. What other processes ask
        `claims` knows, where there are some; calls that are not awaited are equal to others of this process only."""
        self._backend = backend
        self._answers = answers
        self._claims = claims
        self._parts = _encode(parts)
        self.shared = 0
        """Calls that were not made."""
        self._flying: dict[tuple[object, bytes], deque[_Waiting | asyncio.Event]] = {}
        """Calls in flight, by event loop and key: who waits for each."""
        self._by_default = getattr(backend, "temperature", None)
        if (begin := getattr(backend, "begin", None)) is not None:
            self.begin = partial(self._begin, begin)
        else:
            self.call = self._call
            if getattr(backend, "call_stream", None) is not None:
                self.call_stream = self._call_stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def _key(self, request: ModelRequest) -> bytes | None:
        """Equal for equal requests; None for one whose answer is of this call alone."""
        temperature = self._by_default if request.temperature is None else request.temperature
        if temperature != 0 or request.operation is not None or any(each.url for each in request.attachments):
            return None
        return blake2b(self._parts + _encode(request), digest_size=20).digest()

    def _found(self, key: bytes) -> ModelAnswer | None:
        answer = self._answers.get(key)
        if answer is None:
            return None
        self.shared += 1
        return _again(answer)

    # --- a backend that is awaited ---------------------------------------------------------------------------------

    async def _call(self, request: ModelRequest) -> ModelAnswer:
        call = cast("Callable[[ModelRequest], Any]", getattr(self._backend, "call"))  # noqa: B009  # of either style
        key = self._key(request)
        if key is None:
            return await call(request)
        place = asyncio.get_running_loop(), key
        while True:
            if (found := self._found(key)) is not None:
                return found
            waiting = self._flying.get(place)
            if waiting is None:
                break
            over = asyncio.Event()
            waiting.append(over)
            await over.wait()
        waiting = self._flying[place] = deque()
        try:
            answer = await self._claimed(key, partial(call, request))
            self._answers.put(key, answer)
            return answer
        finally:
            del self._flying[place]
            for over in waiting:
                cast(asyncio.Event, over).set()

    async def _claimed(self, key: bytes, call: Callable[[], Awaitable[ModelAnswer]]) -> ModelAnswer:
        """The answer of another process, else of the call."""
        if self._claims is None:
            return await call()
        known = await self._claims.claim(key)
        if known is not None:
            self.shared += 1
            return _again(known)
        answer = None
        try:
            answer = await call()
            return answer
        finally:
            self._claims.settle(key, answer)

    async def _call_stream(self, request: ModelRequest, tell: Tell) -> ModelAnswer:
        key = self._key(request)
        if key is not None and (found := self._found(key)) is not None:
            tell(found.text)
            return found
        answer: ModelAnswer = await getattr(self._backend, "call_stream")(request, tell)  # noqa: B009
        if key is not None:
            self._answers.put(key, answer)
        return answer

    # --- a backend that calls back ---------------------------------------------------------------------------------

    def _begin(self, begin: Callable[..., Handle], request: ModelRequest, clock: Clock, done: Done) -> Handle:
        key = self._key(request)
        if key is None:
            return begin(request, clock, done)
        if (found := self._found(key)) is not None:
            done(found)
            return _OVER
        place = asyncio.get_running_loop(), key
        call = _Waiting(self, begin, place, request, clock, done)
        if (waiting := self._flying.get(place)) is None:
            self._flying[place] = deque()
            call.make()
        else:
            waiting.append(call)
        return call

    def next_of(self, place: tuple[object, bytes]) -> None:
        """The call in flight there has no answer: the next one is made."""
        waiting = self._flying[place]
        if waiting:
            cast(_Waiting, waiting.popleft()).make()
        else:
            del self._flying[place]

    def give_up(self, call: _Waiting, place: tuple[object, bytes]) -> None:
        """Nobody wants the answer to a call that waits for another one."""
        if (waiting := self._flying.get(place)) is not None and call in waiting:
            waiting.remove(call)

    def answered(self, place: tuple[object, bytes], answer: ModelAnswer) -> None:
        self._answers.put(place[1], answer)
        waiting = self._flying.pop(place)
        self.shared += len(waiting)
        for each in waiting:
            cast(_Waiting, each).done(_again(answer))


class _Waiting:
    """A call of a backend that calls back: in flight, or waiting for one that is equal to it."""

    def __init__(
        self, calls: EqualCalls, begin: Callable[..., Handle], place: tuple[object, bytes],
        request: ModelRequest, clock: Clock, done: Done,
    ) -> None:  # fmt: skip
        self._calls = calls
        self._begin = begin
        self._place = place
        self._request = request
        self._clock = clock
        self.done = done
        self._handle: Handle | None = None
        self._is_made = self._is_over = False

    def make(self) -> None:
        self._is_made = True
        self._handle = self._begin(self._request, self._clock, self._ended)

    def cancel(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if not self._is_made:
            self._calls.give_up(self, self._place)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._calls.next_of(self._place)

    def _ended(self, outcome: object) -> None:
        if self._is_over:
            return
        self._is_over = True
        if isinstance(outcome, ModelAnswer):
            self.done(outcome)
            self._calls.answered(self._place, outcome)
        else:
            self._calls.next_of(self._place)
            self.done(outcome)


class _Over:
    def cancel(self) -> None:
        """Nothing is going on."""


_OVER = _Over()


def _again(answer: ModelAnswer) -> ModelAnswer:
    """The same answer to another call, which took and cost nothing."""
    return replace(answer, usage=_NOTHING_USED, service_ns=None)
