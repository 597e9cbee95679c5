"""Existing code on our transport, unedited: while it runs, what the SDKs of others ask in a lane goes through that.

It is put in front of the transports of httpx and httpx2 themselves, so whoever made a client, and when, does not
matter; what is no call of a model made in a lane goes on to them, and they are as they were once nobody needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from apxm.lanes.run import LaneRun
from apxm.sdks.transport import Transport, is_asked_here, pass_by

_HOMES = ("httpx._transports.default", "httpx2._transports.default")
"""The modules that hold their transports."""
_CLIENTS = ("openai", "anthropic")
"""Packages whose clients try again by themselves, as often as their `max_retries` says."""
_MISSING = object()


class _OwnRetries:
    """`max_retries` as a client was told; none in a lane, where those of the run are made."""

    def __get__(self, client: Any, owner: type | None = None) -> Any:
        if client is None:
            return self
        return 0 if is_asked_here() else client.__dict__["max_retries"]

    def __set__(self, client: Any, value: Any) -> None:
        client.__dict__["max_retries"] = value


OWN_RETRIES: Any = _OwnRetries()


class _InPlace:
    """What has been put in place of something, while at least one run needs it."""

    def __init__(self) -> None:
        self._needed = 0
        self._before: list[tuple[Any, str, Any]] = []
        self._transport: Transport | None = None
        self.script: LaneRun | None = None
        """The run of a script, whose program all threads of this process belong to."""
        self._finder = _Finder(self._put)

    def begin(self) -> None:
        self._needed += 1
        if self._needed > 1:
            return
        self._transport = Transport()
        sys.meta_path.insert(0, self._finder)
        for name in self._finder.names:
            if name in sys.modules:
                self._put(sys.modules[name])

    def end(self) -> None:
        self._needed -= 1
        if self._needed:
            return
        sys.meta_path.remove(self._finder)
        for owner, name, before in reversed(self._before):
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._before.clear()
        self._transport = None

    def _put(self, module: ModuleType) -> None:
        transport = self._transport
        assert transport is not None
        if module.__name__ not in _HOMES:
            self._set(module.BaseClient, "max_retries", OWN_RETRIES)
            return
        self._set(module.HTTPTransport, "handle_request", _blocking(transport, module.HTTPTransport.handle_request))
        kind = module.AsyncHTTPTransport
        self._set(kind, "handle_async_request", _in_a_loop(transport, kind.handle_async_request))

    def _set(self, owner: Any, name: str, value: Any) -> None:
        own: Any = owner.__dict__
        self._before.append((owner, name, own.get(name, _MISSING)))
        setattr(owner, name, value)


def _blocking(transport: Transport, before: Callable[..., Any]) -> Callable[..., Any]:
    def handle_request(theirs: Any, request: Any) -> Any:
        if is_asked_here(request):
            return transport.handle_request(request)
        pass_by(request, _IN_PLACE.script)
        return before(theirs, request)

    return handle_request


def _in_a_loop(transport: Transport, before: Callable[..., Any]) -> Callable[..., Any]:
    async def handle_async_request(theirs: Any, request: Any) -> Any:
        if is_asked_here(request):
            return await transport.handle_async_request(request)
        pass_by(request, _IN_PLACE.script)
        return await before(theirs, request)

    return handle_async_request


class _Finder(MetaPathFinder):
    """Sees modules that are imported later."""

    names = (*_HOMES, *(f"{client}._base_client" for client in _CLIENTS))

    def __init__(self, put: Callable[[ModuleType], None]) -> None:
        self._put = put

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname not in self.names:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        loader: Any = None if spec is None else spec.loader
        if loader is None:
            return spec
        execute, put = loader.exec_module, self._put

        def exec_module(module: ModuleType) -> None:
            execute(module)
            put(module)

        loader.exec_module = exec_module
        return spec


_IN_PLACE = _InPlace()


@contextmanager
def sdks_in_place(script: LaneRun | None = None) -> Generator[None]:
    """Within it, every call of a model that an SDK on httpx or httpx2 makes in a lane is one of the lane's run, and
    that SDK makes no retries of its own there. `script` is the run of a script, which has this process to itself."""
    _IN_PLACE.begin()
    around, _IN_PLACE.script = _IN_PLACE.script, script or _IN_PLACE.script
    try:
        yield
    finally:
        _IN_PLACE.script = around
        _IN_PLACE.end()
