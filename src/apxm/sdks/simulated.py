"""Calls of an SDK in a run that was told to simulate: answered in this process, as `apxm simulator` would over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apxm.backends.endpoint_errors import EndpointErrors
from apxm.backends.exchange import HttpRequest, Parts, answer_of_status, headers_of, refused
from apxm.backends.protocol import Clock, Handle
from apxm.backends.redaction import Redactor
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError, ConfigurationError
from apxm.runtime.gates import Gate
from apxm.runtime.handlers.http import HttpCall, HttpProvider
from apxm.runtime.waiting import Binding, Provider
from apxm.simulator.replies import Reply
from apxm.simulator.routes import SimulatedEndpoint

_AT = "/v1/"


class SimulatedCall(HttpCall):
    """A call that the simulated backend of its run answers, wherever it would go."""

    __slots__ = ()

    def bind(self, run: Binding) -> Provider:
        backend, gate = run.pool.get(None)
        if not isinstance(backend, SimulatedBackend):
            raise ConfigurationError(f"backend {backend.info.name!r} cannot simulate the calls of an SDK")
        return _SimulatedProvider(backend, self.model, gate, run)


class _SimulatedProvider(HttpProvider):
    virtual = True
    kind = "backend"

    def __init__(self, backend: SimulatedBackend, model: str, gate: Gate, run: Binding) -> None:
        super().__init__(backend.info, backend.limits, model, gate, run.pool.retries, run)
        self._backend = backend
        self._endpoint: SimulatedEndpoint | None = None
        self._errors = EndpointErrors(self.name, "simulated", Redactor([]), None, lambda: BackendError, {})
        self.begin = self._begin

    def _begin(self, request: HttpRequest, clock: Clock, done: Callable[[Any], None]) -> Handle:
        if self._endpoint is None:
            self._endpoint = SimulatedEndpoint(self._backend, clock)
        target = (_AT + request.called[0].replace(".", "/")).encode()
        receiver = _Receiver(self._errors, request.sent.parts, done)
        found = self._endpoint.answer(b"POST", target, request.sent.content, receiver)
        if isinstance(found, Reply):
            return clock.call_at(clock.now(), lambda: receiver.finish(found))
        return found


class _Receiver:
    """Who waits for the answer to one call."""

    def __init__(self, errors: EndpointErrors, parts: Parts | None, done: Callable[[Any], None]) -> None:
        self._errors = errors
        self._parts = parts
        self._done = done
        self._content = bytearray()
        self._type = b""

    def finish(self, reply: Reply) -> None:
        headers = headers_of(b"content-type: %b\r\n%b" % (reply.content_type, reply.headers))
        answer = answer_of_status(reply.status, headers, (), reply.body)
        if reply.status < 400:
            self._done(answer)
        else:
            self._done(refused(self._errors.failed(reply.status, headers, reply.body), answer))

    def begin_stream(self, content_type: bytes) -> None:
        self._type = content_type
        if self._parts is not None:
            self._parts.begin(200, (("content-type", content_type.decode()),))

    def send(self, piece: bytes) -> None:
        self._content += piece
        if self._parts is not None and self._parts.status is not None:
            self._parts.add(piece)

    def end_stream(self, trailer: bytes) -> None:
        headers = headers_of(b"content-type: %b\r\n%b" % (self._type, trailer))
        self._done(answer_of_status(200, headers, (), bytes(self._content)))

    def reset(self) -> None:
        retryable = self._parts is None or self._parts.status is None
        self._done(self._errors.error("connection", "was lost: a simulated fault", retryable=retryable))
