"""The simulated endpoint behind the server: its pages, and its calls from request to last token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import Annotated

from msgspec import Meta, Struct

from apxm.backends.protocol import Clock, Handle
from apxm.backends.simulated import SimulatedBackend
from apxm.simulator.answers import ServedCall
from apxm.simulator.bodies import BadRequestError, reader
from apxm.simulator.chat import decode_request
from apxm.simulator.completions import decode_completion
from apxm.simulator.embeddings import decode_embeddings
from apxm.simulator.generator import Generator, Receiver
from apxm.simulator.metrics import ServerMetrics
from apxm.simulator.replies import PLAIN_TEXT, Reply, as_json, error
from apxm.simulator.responses import decode_response

_CALLS: Mapping[bytes, Callable[[bytes], ServedCall]] = {
    b"/v1/chat/completions": decode_request,
    b"/v1/completions": decode_completion,
    b"/v1/embeddings": decode_embeddings,
    b"/v1/responses": decode_response,
}
"""What is answered by the model, in its time; each reads a body, and raises `BadRequestError`."""


class SimulatedEndpoint:
    def __init__(self, backend: SimulatedBackend, clock: Clock, tokens_per_second: float | None = None) -> None:
        self.metrics = ServerMetrics()
        self._backend = backend
        self._generator = Generator(backend, clock, self.metrics, tokens_per_second)
        self._begun = int(time())
        self._pages: dict[bytes, tuple[bytes, Callable[[bytes], Reply]]] = {
            b"/health": (b"GET", self._health),
            b"/metrics": (b"GET", self._metrics),
            b"/v1/models": (b"GET", self._models),
            b"/control/iteration": (b"POST", self._begin_iteration),
        }

    def answer(self, method: bytes, target: bytes, body: bytes, client: Receiver) -> Reply | Handle:
        """The reply; or a call begun, which `client` is told about, later, unless the handle is cancelled."""
        path = target.partition(b"?")[0]
        decode = _CALLS.get(path)
        if decode is not None:
            if method != b"POST":
                return _wrong_method(method, path, b"POST")
            try:
                call = decode(body)
            except BadRequestError as bad:
                return error(400, bad.message, param=bad.param)
            return self._generator.begin(call, client)
        page = self._pages.get(path)
        if page is None:
            return error(404, f"There is nothing at {_shown(method)} {_shown(path)}.", code="unknown_url")
        allowed, reply = page
        if method != allowed and not (method == b"HEAD" and allowed == b"GET"):
            return _wrong_method(method, path, allowed)
        return reply(body)

    def _health(self, body: bytes) -> Reply:  # noqa: ARG002
        info = self._backend.info
        return as_json({"status": "ok", "simulated": True, "description": info.description})

    def _metrics(self, body: bytes) -> Reply:  # noqa: ARG002
        return Reply(200, self.metrics.text().encode(), PLAIN_TEXT)

    def _models(self, body: bytes) -> Reply:  # noqa: ARG002
        model = {"id": self._backend.info.model, "object": "model", "created": self._begun, "owned_by": "apxm"}
        return as_json({"object": "list", "data": [model]})

    def _begin_iteration(self, body: bytes) -> Reply:
        try:
            iteration = _read_iteration(body).iteration
        except BadRequestError as bad:
            return error(400, bad.message, param=bad.param)
        self._backend.start_run(iteration)
        self.metrics.begin_iteration()
        return as_json({"iteration": iteration})


class _Iteration(Struct):
    iteration: Annotated[int, Meta(ge=0, le=1 << 53)]


_read_iteration = reader(_Iteration)


def _wrong_method(method: bytes, path: bytes, allowed: bytes) -> Reply:
    message = f"{_shown(path)} is for {_shown(allowed)}, not for {_shown(method)}."
    return error(405, message, code="method_not_supported", headers=b"Allow: %b\r\n" % allowed)


def _shown(text: bytes) -> str:
    return text[:200].decode("ascii", "backslashreplace")
