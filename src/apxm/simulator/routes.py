"""The simulated endpoint behind the server: its pages, and the calls that they begin."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

from apxm.backends.protocol import Clock, Handle
from apxm.backends.simulated import SimulatedBackend
from apxm.simulator.answers import ServedCall
from apxm.simulator.bodies import BadRequestError, reader
from apxm.simulator.chat import ChatCall, ChatRequest
from apxm.simulator.completions import CompletionCall, CompletionRequest
from apxm.simulator.embeddings import EmbeddingsCall, EmbeddingsRequest
from apxm.simulator.generator import Generator, Receiver
from apxm.simulator.metrics import ServerMetrics
from apxm.simulator.replies import PLAIN_TEXT, Reply, as_json, error
from apxm.simulator.responses import ResponseCall, ResponseRequest

T = TypeVar("T")
Page = Callable[[bytes, Receiver], Reply | Handle]
"""What a page does with a body: it replies, or begins a call. It raises `BadRequestError`."""


class Iteration(Struct):
    iteration: Annotated[int, Meta(ge=0, le=1 << 53)]


_read_iteration = reader(Iteration)


class SimulatedEndpoint:
    def __init__(self, backend: SimulatedBackend, clock: Clock, tokens_per_second: float | None = None) -> None:
        self.metrics = ServerMetrics()
        self._backend = backend
        self._generator = Generator(backend, clock, self.metrics, tokens_per_second)
        self._begun = int(time())
        self._pages: dict[bytes, tuple[bytes, Page]] = {
            b"/health": (b"GET", self._health),
            b"/metrics": (b"GET", self._metrics),
            b"/v1/models": (b"GET", self._models),
            b"/control/iteration": (b"POST", self._begin_iteration),
            b"/v1/chat/completions": (b"POST", self._calls(ChatRequest, ChatCall)),
            b"/v1/completions": (b"POST", self._calls(CompletionRequest, CompletionCall)),
            b"/v1/embeddings": (b"POST", self._calls(EmbeddingsRequest, EmbeddingsCall)),
            b"/v1/responses": (b"POST", self._calls(ResponseRequest, ResponseCall)),
        }

    def answer(self, method: bytes, target: bytes, body: bytes, client: Receiver) -> Reply | Handle:
        """The reply; or a call begun, which `client` is told about, later, unless the handle is cancelled."""
        path = target.partition(b"?")[0]
        if path not in self._pages:
            return error(404, f"There is nothing at {_shown(method)} {_shown(path)}.", code="unknown_url")
        allowed, page = self._pages[path]
        if method != allowed and not (method == b"HEAD" and allowed == b"GET"):
            message = f"{_shown(path)} is for {_shown(allowed)}, not for {_shown(method)}."
            return error(405, message, code="method_not_supported", headers=b"Allow: %b\r\n" % allowed)
        try:
            return page(body, client)
        except BadRequestError as bad:
            return error(400, bad.message, param=bad.param)

    def _calls(self, kind: type[T], call: Callable[[T], ServedCall]) -> Page:
        """A page that the model answers, in its time."""
        read = reader(kind)
        return lambda body, client: self._generator.begin(call(read(body)), client)

    def _health(self, body: bytes, client: Receiver) -> Reply:  # noqa: ARG002
        info = self._backend.info
        return as_json({"status": "ok", "simulated": True, "description": info.description})

    def _metrics(self, body: bytes, client: Receiver) -> Reply:  # noqa: ARG002
        return Reply(200, self.metrics.text().encode(), PLAIN_TEXT)

    def _models(self, body: bytes, client: Receiver) -> Reply:  # noqa: ARG002
        model = {"id": self._backend.info.model, "object": "model", "created": self._begun, "owned_by": "apxm"}
        return as_json({"object": "list", "data": [model]})

    def _begin_iteration(self, body: bytes, client: Receiver) -> Reply:  # noqa: ARG002
        iteration = _read_iteration(body).iteration
        self._backend.start_run(iteration)
        self.metrics.begin_iteration()
        return as_json({"iteration": iteration})


def _shown(text: bytes) -> str:
    return text[:200].decode("ascii", "backslashreplace")
