"""The HTTP clients of SDKs, while a script runs unedited: calls of models that lanes make through them are those of its
run. Everything else goes where it went."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from apxm.backends.exchange import model_call
from apxm.lanes.httpx_like import fields_of, timeout_of
from apxm.lanes.run import RUN
from apxm.lanes.transport import lane_here, transport

_OURS = transport()


class Between:
    """A transport of a client, and ours for the calls of models."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def handle_request(self, request: Any) -> Any:
        lane = lane_here()
        if lane is None:
            return self._plain.handle_request(request)
        if _is_call(request, request.read()):
            return _OURS.handle_request(request)
        return RUN.get().thread(lane, partial(self._plain.handle_request, request))

    async def handle_async_request(self, request: Any) -> Any:
        if lane_here() is not None and _is_call(request, await request.aread()):
            return await _OURS.handle_async_request(request)
        return await self._plain.handle_async_request(request)

    def __enter__(self) -> Between:
        self._plain.__enter__()
        return self

    def __exit__(self, *raised: Any) -> Any:
        return self._plain.__exit__(*raised)

    async def __aenter__(self) -> Between:
        await self._plain.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> Any:
        return await self._plain.__aexit__(*raised)


def _is_call(request: Any, content: bytes) -> bool:
    return model_call(request.method, str(request.url), fields_of(request), content, timeout_of(request)) is not None


def _take_clients(library: ModuleType) -> None:
    """From here on the clients of httpx, or httpx2, that use a transport of the library's own use ours for calls."""
    own = (library.HTTPTransport, library.AsyncHTTPTransport)
    for client in (library.Client, library.AsyncClient):
        client.__init__ = _taking(client.__init__, own)


def _taking(initialize: Callable[..., None], own: tuple[type, ...]) -> Callable[..., None]:
    @functools.wraps(initialize)
    def taking(client: Any, *arguments: Any, **named: Any) -> None:
        initialize(client, *arguments, **named)
        if isinstance(client._transport, own):
            client._transport = Between(client._transport)
        mounts = getattr(client, "_mounts", {})
        for pattern, mounted in mounts.items():
            if isinstance(mounted, own):
                mounts[pattern] = Between(mounted)

    return taking


def _take_openai(library: ModuleType) -> None:
    """From here on the clients of the OpenAI SDK make no retries of their own in a run."""
    from apxm.openai import AsyncOpenAI, OpenAI

    for name, taken in (
        ("OpenAI", OpenAI),
        ("Client", OpenAI),
        ("AsyncOpenAI", AsyncOpenAI),
        ("AsyncClient", AsyncOpenAI),
    ):
        if hasattr(library, name):
            setattr(library, name, taken)


TAKING: dict[str, Callable[[ModuleType], None]] = {
    "httpx": _take_clients, "httpx2": _take_clients, "openai": _take_openai,
}  # fmt: skip
"""What is done to a library when it has been imported, by its name."""


def take_loaded() -> None:
    """Does so for those that are there already."""
    for name, take in TAKING.items():
        if (library := sys.modules.get(name)) is not None:
            take(library)
