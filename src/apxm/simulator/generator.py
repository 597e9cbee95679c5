"""Calls in flight, from the request to the last token."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from time import time
from typing import Protocol

from apxm.backends.faults import AT_ONCE, MISSHAPEN, FaultKind
from apxm.backends.protocol import Clock, Handle, ModelAnswer, ModelRequest
from apxm.backends.simulated import NS_PER_DRIPPED_BYTE, SimulatedBackend
from apxm.simulator.answers import ServedAnswer, ServedCall, Stream
from apxm.simulator.faults import refusal, sound_body, spoiled
from apxm.simulator.metrics import ServerMetrics
from apxm.simulator.replies import EVENT_STREAM, JSON, Reply, server_timing

_RESET_AFTER_NS = 20_000_000
"""The time that the first half of an answer has to arrive before the connection is reset: a reset overtakes it."""


class Receiver(Protocol):
    """Who waits for the answer to a call: gets a reply, or a stream's beginning, pieces and end."""

    def finish(self, reply: Reply) -> None: ...

    def begin_stream(self, content_type: bytes) -> None: ...

    def send(self, piece: bytes) -> None: ...

    def end_stream(self, trailer: bytes) -> None: ...

    def reset(self) -> None:
        """Breaks the connection, whatever was said so far."""
        ...


class Generator:
    """What the calls of one endpoint share."""

    def __init__(
        self, backend: SimulatedBackend, clock: Clock, metrics: ServerMetrics, tokens_per_second: float | None
    ) -> None:
        self.backend = backend
        self.clock = clock
        self.metrics = metrics
        self.token_ns = round(1e9 / tokens_per_second) if tokens_per_second else 0
        self.numbers = count(1)

    def begin(self, call: ServedCall, client: Receiver) -> Handle:
        """Starts a call. `client` gets the answer, later, unless the handle is cancelled."""
        return _RunningCall(self, call, client)

    def say(self, asked: ModelRequest, choice: int) -> ModelAnswer:
        return self.backend.answer(asked, 0, choice)


class _RunningCall:
    """A call in flight. With a rate of tokens, the first is there after the latency, and the others are more work, so
    that load slows them too. What a late timer lost, the next piece of work makes up for.

    Streamed or not, an answer takes the same time, and so does what comes in its place where the call meets a fault.
    """

    __slots__ = (
        "_answer", "_arrived", "_call", "_client", "_drops", "_fault", "_generator", "_handle", "_name", "_over_at",
        "_sent", "_stream",
    )  # fmt: skip

    _answer: ServedAnswer
    _stream: Stream
    _drops: bytes
    """What drips."""

    def __init__(self, generator: Generator, call: ServedCall, client: Receiver) -> None:
        self._generator = generator
        self._call = call
        self._client = client
        self._sent = 0
        self._name: tuple[int, int] | None = None
        """Number and time of the answer, once it has begun."""
        self._arrived = self._over_at = generator.clock.now()
        asked = call.asked
        self._fault: FaultKind | None = generator.backend.next_fault(asked)
        if self._fault in AT_ONCE:
            self._handle: Handle = generator.clock.call_at(self._arrived, self._refuse)
        elif generator.backend.counts_tokens:
            said = call.answer(0, 0, generator.say(asked, 0), generator.say)
            told = self._tell_token if call.stream and self._fault is None else None
            self._handle = generator.backend.begin_sound(
                asked, generator.clock, self._after_latency, tokens=said.usage.completion_tokens, told=told
            )
        else:
            self._handle = generator.backend.begin_sound(asked, generator.clock, self._after_latency)
        generator.metrics.call_began()

    def cancel(self) -> None:
        self._handle.cancel()
        self._generator.metrics.call_cancelled()

    def _after_latency(self, result: ModelAnswer) -> None:
        assert result.service_ns is not None
        self._over_at += result.service_ns
        generator = self._generator
        sound = self._fault is None
        if self._fault in MISSHAPEN:
            generator.metrics.fault(self._fault)
            result, self._fault = generator.backend.misshapen(self._call.asked, result, self._fault), None
        self._make_answer(result)
        if generator.backend.counts_tokens and self._call.stream and sound:
            self._stream = self._answer.stream(by_token=True)
            while not self._sent or self._sent < len(self._stream.tokens):
                self._send_token()
            self._end_stream()
        elif not generator.token_ns:
            self._finish()
        elif self._call.stream and self._fault is None:
            self._stream = self._answer.stream(by_token=True)
            self._send_token()
            self._await_token()
        else:
            self._work(max(0, self._answer.usage.completion_tokens - 1), self._finish)

    def _make_answer(self, said: ModelAnswer) -> None:
        self._name = self._name or (next(self._generator.numbers), int(time()))
        self._answer = self._call.answer(*self._name, said, self._generator.say)

    def _tell_token(self) -> None:
        """The engine has the next token, and goes on."""
        if not self._sent:
            self._make_answer(self._generator.say(self._call.asked, 0))
            self._stream = self._answer.stream(by_token=True)
        if self._sent < len(self._stream.tokens):
            self._send_token()

    def _send_token(self) -> None:
        if not self._sent:
            self._client.begin_stream(EVENT_STREAM)
            if self._stream.first:  # an empty piece would end the body
                self._client.send(self._stream.first)
        if self._stream.tokens:  # an answer may be without words
            self._client.send(self._stream.tokens[self._sent])
        self._sent += 1

    def _await_token(self) -> None:
        if self._sent < len(self._stream.tokens):
            self._work(1, self._next_token)
        else:
            self._end_stream()

    def _next_token(self) -> None:
        self._send_token()
        self._await_token()

    def _end_stream(self) -> None:
        self._client.send(self._stream.last)
        self._client.end_stream(server_timing(self._account()))

    def _work(self, tokens: int, then: Callable[[], None]) -> None:
        generator = self._generator
        now = generator.clock.now()
        missing = tokens * generator.token_ns - (now - self._over_at)

        def over(service_ns: int) -> None:
            self._over_at = now + service_ns + min(0, missing)
            then()

        self._handle = generator.backend.work(max(0, missing), generator.clock, over)

    def _finish(self) -> None:
        if self._fault is not None:
            self._spoil(self._fault)
            return
        timing = server_timing(self._account())
        if self._call.stream:
            self._client.finish(Reply(200, self._answer.stream(by_token=False).all(), EVENT_STREAM, timing))
        else:
            self._client.finish(Reply(200, self._answer.whole(), headers=timing))

    # --- faults ----------------------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        assert self._fault is not None
        self._generator.metrics.fault(self._fault)
        self._generator.metrics.call_refused()
        if self._fault == "reset":
            self._client.reset()
        else:
            self._client.finish(refusal(self._fault))

    def _spoil(self, fault: FaultKind) -> None:
        self._generator.metrics.fault(fault)
        stream = self._call.stream
        if fault == "hang":
            return  # in flight until the client leaves
        if fault not in ("drip", "reset_mid"):
            timing = server_timing(self._account())
            self._client.finish(spoiled(fault, self._answer, stream=stream, headers=timing))
            return
        body = sound_body(self._answer, stream=stream)
        self._client.begin_stream(EVENT_STREAM if stream else JSON)
        if fault == "drip":
            self._drops = body
            self._await_drop()
        else:
            self._client.send(body[: len(body) // 2])
            clock = self._generator.clock
            self._over_at += _RESET_AFTER_NS
            self._handle = clock.call_at(clock.now() + _RESET_AFTER_NS, self._reset)

    def _await_drop(self) -> None:
        """Waits for the next byte, without load. Still it is the endpoint that takes so long."""
        self._over_at += NS_PER_DRIPPED_BYTE
        self._handle = self._generator.clock.call_at(self._over_at, self._drip)

    def _drip(self) -> None:
        self._client.send(self._drops[self._sent : self._sent + 1])
        self._sent += 1
        if self._sent < len(self._drops):
            self._await_drop()
        else:
            self._client.end_stream(server_timing(self._account()))

    def _reset(self) -> None:
        self._account()
        self._client.reset()

    # ---------------------------------------------------------------------------------------------------------------

    def _account(self) -> int:
        """The service time: what the call took at the endpoint, load included. That this process got its turn late is
        not the endpoint's doing; the metrics say by how much."""
        service_ns = self._over_at - self._arrived
        late_ns = self._generator.clock.now() - self._over_at
        self._generator.metrics.call_answered(self._answer.usage, service_ns, late_ns)
        return service_ns
