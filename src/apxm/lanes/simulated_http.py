"""What SDKs are answered in a run that is simulated: the simulator's own answers, without an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from apxm.backends.exchange import HttpAnswer, HttpRequest, RefusedCall, refused, usage_of
from apxm.backends.protocol import Clock, Handle, Usage
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError, OperationError
from apxm.runtime.budget import DEFAULT_MAX_TOKENS, NOTHING, Cost, Tariff
from apxm.runtime.failures import EndpointFailures
from apxm.runtime.handlers.http import HttpCall
from apxm.runtime.waiting import Binding, Call, Provider
from apxm.simulator.replies import EVENT_STREAM, Reply
from apxm.simulator.routes import SimulatedEndpoint

_PATHS = {"chat.completions": b"/v1/chat/completions", "messages": b"/v1/messages"}
_ASSUMED_OUTPUT = 1024
_RETRIED = 429


class SimulatedHttp(Provider):
    """The backend that answers whatever a run asks, as an endpoint for calls that SDKs write."""

    kind = "backend"
    virtual = True

    def __init__(self, model: str, run: Binding) -> None:
        backend, self.gate = run.pool.get(None)
        assert isinstance(backend, SimulatedBackend)
        self._backend = backend
        self._model = model
        self.info = backend.info
        self.name = backend.info.name
        self._tariff = Tariff(backend.limits)
        failures = EndpointFailures(self.gate, backend.limits.retries, run.pool.retries, run)
        self.retry, self.delay = failures.retry, failures.delay
        self.begin = self._begin

    def _begin(self, request: HttpRequest, clock: Clock, done: Callable[[object], None]) -> Handle:
        # One for each call: what it counts would tell which call came first.
        endpoint = SimulatedEndpoint(self._backend, clock)
        name = request.called[0]
        path = _PATHS.get(name, f"/v1/{name}".encode())
        begun = endpoint.answer(b"POST", path, request.sent.content, _Receiver(done))
        if isinstance(begun, Reply):
            return clock.call_at(clock.now(), lambda: done(_outcome(begun)))
        return begun

    def answer(self, call: Call, outcome: object) -> HttpAnswer | OperationError:
        del call
        return cast("HttpAnswer | OperationError", outcome)

    def variant(self, request: HttpRequest) -> str | None:
        del request
        return self._model or None

    def most_tokens(self, request: HttpRequest) -> int:
        return request.largest_input(self._backend.limits) + request.most_output(_ASSUMED_OUTPUT)

    def bounded(self, request: HttpRequest) -> tuple[HttpRequest, Cost]:
        most = request.most_output(DEFAULT_MAX_TOKENS)
        used = Usage(request.largest_input(self._backend.limits), most)
        return request, self._tariff.actual(used, self._model) or NOTHING

    def cost(self, operation: HttpCall, usage: Usage) -> Cost | None:
        return self._tariff.actual(usage, operation.model)


class _Receiver:
    """Takes the answer to one call, in whatever pieces it comes."""

    def __init__(self, done: Callable[[object], None]) -> None:
        self._done = done
        self._type = b""
        self._pieces: list[bytes] = []

    def finish(self, reply: Reply) -> None:
        self._done(_outcome(reply))

    def begin_stream(self, content_type: bytes) -> None:
        self._type = content_type

    def send(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def end_stream(self, trailer: bytes) -> None:
        self.finish(Reply(200, b"".join(self._pieces), self._type, trailer))

    def reset(self) -> None:
        self._done(BackendError("connection", "the simulated connection was reset", retryable=True))


def _outcome(reply: Reply) -> HttpAnswer | RefusedCall:
    lines = [b"Content-Type: " + reply.content_type, *reply.headers.splitlines()]
    fields = tuple(
        (name.decode(), value.strip().decode()) for name, _, value in (line.partition(b":") for line in lines)
    )
    answer = HttpAnswer(reply.status, fields, reply.body, usage_of(reply.body, reply.content_type == EVENT_STREAM))
    if reply.status < 400:
        return answer
    retryable = reply.status == _RETRIED or reply.status >= 500
    return refused(BackendError("http_status", "the simulated endpoint refuses", retryable=retryable), answer)
