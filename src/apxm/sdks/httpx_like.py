"""What httpx and httpx2 have in common, for whoever speaks with either: requests, responses, and errors of theirs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from apxm.backends.exchange import Fields
from apxm.errors import OperationError, UsageError

_ERRORS = {"timeout": "ReadTimeout", "unreadable_answer": "ReadError", "connection": "RemoteProtocolError"}
"""What they raise for a failure without an answer, by its kind; for all others, that there was no connection."""


def library_of(request: Any) -> ModuleType:
    """The library whose request it is."""
    name = type(request).__module__.partition(".")[0]
    module = sys.modules.get(name)
    if module is None or not hasattr(module, "SyncByteStream"):
        raise UsageError(
            f"apxm.transport() was given a {type(request).__qualname__} of {name}",
            hint="it is a transport for clients of httpx and httpx2",
        )
    return module


def fields_of(request: Any) -> Fields:
    return tuple(request.headers.multi_items())


def timeout_of(request: Any) -> float | None:
    """How many seconds nothing may come."""
    return request.extensions.get("timeout", {}).get("read")


def response(library: ModuleType, status: int, headers: Fields, body: Body) -> Any:
    return library.Response(status, headers=list(headers), stream=_stream_class(library)(body))


def error(library: ModuleType, failed: OperationError, request: Any) -> Exception:
    """What the library raises for what went wrong."""
    kind: Any = getattr(library, _ERRORS.get(failed.kind, "ConnectError"))
    return kind(f"{failed}", request=request)


class Body:
    """The body of a response: read once, in one of two ways."""

    def pieces(self) -> Iterator[bytes]:
        raise NotImplementedError

    def pieces_async(self) -> AsyncIterator[bytes]:
        raise NotImplementedError

    def close(self) -> object:
        """Nobody wants the rest."""

    async def aclose(self) -> object:
        """As `close`, in an event loop."""


class WholeBody(Body):
    """One that is there."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def pieces(self) -> Iterator[bytes]:
        yield self._content

    async def pieces_async(self) -> AsyncIterator[bytes]:
        yield self._content


class PassedBody(Body):
    """One that comes from somebody else."""

    def __init__(
        self,
        pieces: Iterator[bytes] | AsyncIterator[bytes],
        close: Callable[[], object] | None = None,
        aclose: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._pieces: Any = pieces
        self._close = close
        self._aclose = aclose

    def pieces(self) -> Iterator[bytes]:
        return self._pieces

    def pieces_async(self) -> AsyncIterator[bytes]:
        return self._pieces

    def close(self) -> object:
        return self._close and self._close()

    async def aclose(self) -> object:
        return self._aclose and await self._aclose()


@cache
def _stream_class(library: ModuleType) -> Any:
    """The stream of a response as the library wants it, made of a `Body`."""

    class Stream(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc]  # of whichever library
        def __init__(self, body: Body) -> None:
            self._body = body

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._body.pieces())

        def __aiter__(self) -> AsyncIterator[bytes]:
            return aiter(self._body.pieces_async())

        def close(self) -> None:
            self._body.close()

        async def aclose(self) -> None:
            await self._body.aclose()

    return Stream
