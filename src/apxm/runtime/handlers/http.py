"""The call of a model that an SDK wrote: one kind of waiting operation. What is asked, and what is answered, is as the
SDK and the endpoint have it; limits, retries and budgets are those of a run."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from typing import Any, cast

from msgspec.structs import replace

from apxm.backends.endpoint import parse_endpoint
from apxm.backends.exchange import Exchange, HttpAnswer, HttpRequest, kept
from apxm.backends.protocol import NO_LIMITS, AnyBackend, BackendInfo, Limits, Usage
from apxm.errors import OperationError
from apxm.operations.types import Value
from apxm.runtime.budget import DEFAULT_MAX_TOKENS, NOTHING, Cost, Tariff
from apxm.runtime.failures import UNPAID, EndpointFailures
from apxm.runtime.gates import Gate
from apxm.runtime.limits import PROCESS, BackendPool
from apxm.runtime.loops import limit_ns
from apxm.runtime.retries import RetryBudget
from apxm.runtime.waiting import Binding, Call, Provider, WaitingOperation

_ASSUMED_OUTPUT = 1024
"""Tokens of an answer that nothing limits."""


class HttpCall(WaitingOperation):
    """One such call."""

    __slots__ = ("asked", "base", "model", "name")

    def __init__(self, request: HttpRequest) -> None:
        self.asked = request
        self.name, self.base = request.called
        self.model = request.model
        self.provider = "http", self.base, self.model
        self.priority = 0
        self.timeout_ns = None
        self.retries = None

    @property
    def needs(self) -> str:
        return self.model

    def bind(self, run: Binding) -> Provider:
        exchange, gate, retries = _found(self.base, self.model, run.pool)
        provider = HttpProvider(exchange.info, exchange.limits, self.model, gate, retries, run)
        provider.call = exchange.send
        return provider

    def request(self, values: list[Value], form: object) -> HttpRequest:
        del values, form
        return self.asked

    def value(self, answer: HttpAnswer, request: HttpRequest) -> Value:
        del request
        found: dict[str, Value] = {"status": answer.status, "headers": [list(field) for field in kept(answer.headers)]}
        try:
            found["text"] = answer.body.decode()
        except UnicodeDecodeError:
            found["base64"] = b64encode(answer.body).decode()
        return found


def answer_of(value: Value) -> HttpAnswer:
    """What was answered, from what `HttpCall.value` made of it."""
    found = cast(dict[str, Any], value)
    body = found["text"].encode() if "text" in found else b64decode(found["base64"])
    return HttpAnswer(found["status"], tuple((name, text) for name, text in found["headers"]), body)


class HttpProvider(Provider):
    """The endpoint of such calls, as a run uses it."""

    kind = "endpoint"
    unpaid = UNPAID

    def __init__(
        self, info: BackendInfo, limits: Limits, model: str, gate: Gate, retries: RetryBudget, run: Binding
    ) -> None:
        self.name = info.name
        self.info = replace(info, model=model)
        self.gate = gate
        self.timeout_ns = None if limits.timeout_s is None else limit_ns(limits.timeout_s)
        self._model = model
        self._limits = limits
        self._tariff = Tariff(limits)
        failures = EndpointFailures(gate, limits.retries, retries, run)
        self.retry, self.delay = failures.retry, failures.delay

    def answer(self, call: Call, outcome: object) -> HttpAnswer | OperationError:
        del call
        return cast("HttpAnswer | OperationError", outcome)

    def variant(self, request: HttpRequest) -> str | None:
        del request
        return self._model or None

    def most_tokens(self, request: HttpRequest) -> int:
        most = self._limits.max_tokens or _ASSUMED_OUTPUT
        return request.largest_input(self._limits) + request.most_output(most)

    def bounded(self, request: HttpRequest) -> tuple[HttpRequest, Cost]:
        """What the SDK sends is never changed: an answer that it does not limit is taken to be no longer than one that
        is limited by default."""
        most = request.most_output(self._limits.max_tokens or DEFAULT_MAX_TOKENS)
        worst = self._tariff.actual(Usage(request.largest_input(self._limits), most), self._model)
        return request, worst or NOTHING

    def cost(self, operation: HttpCall, usage: Usage) -> Cost | None:
        return self._tariff.actual(usage, operation.model)

    def unpriced(self, operation: HttpCall) -> str | None:
        return None if self._tariff.knows(operation.model) else operation.model


def _found(base: str, model: str, pool: BackendPool) -> tuple[Exchange, Gate, RetryBudget]:
    """Who answers at a URL, with the limits of the backend of the configuration that has the same endpoint, and that
    model if several have; else without any but those of the process. Raises `ConfigurationError`."""
    shown = parse_endpoint(base).shown
    same = [name for name, backend in pool.backends.items() if backend.info.endpoint == shown]
    same = [name for name in same if pool.backends[name].info.model == model] or same
    if same:
        backend, gate = pool.get(same[0])
        return Exchange(same[0], base, backend.limits, os.environ), gate, pool.retries
    exchange = Exchange(None, base, NO_LIMITS, os.environ)
    return exchange, PROCESS.gate(cast(AnyBackend, exchange)), PROCESS.retries
