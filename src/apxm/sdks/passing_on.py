"""The transport where there is no run: it sends what it is given by our HTTP client, and gives back what comes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from apxm.backends.exchange import Exchange, written
from apxm.backends.protocol import NO_LIMITS
from apxm.errors import ConfigurationError
from apxm.sdks.httpx_like import PassedBody, error, fields_of, response, timeout_of


class PassingOn:
    """Nothing is made again here: whoever asks may do so himself."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}

    def send_blocking(self, library: ModuleType, request: Any, content: bytes) -> Any:
        """Sends a request from a thread, which waits. Raises what the library has for what goes wrong."""
        passing = _Passing(library, request, self._exchange(library, request))
        client, timeout = passing.exchange.client, passing.timeout_s
        try:
            found = client.send_blocking(request.method, str(request.url), passing.fields, content, timeout)
        except client.lost as lost:
            raise passing.error(lost) from None
        body = PassedBody(passing.pieces(found), close=getattr(found, "close", None))
        return response(library, found.status, tuple(found.headers.items()), body)

    async def send(self, library: ModuleType, request: Any, content: bytes) -> Any:
        """As `send_blocking`, in an event loop of asyncio."""
        passing = _Passing(library, request, self._exchange(library, request))
        client = passing.exchange.client
        try:
            async with asyncio.timeout(passing.timeout_s):
                found = await client.send(request.method, str(request.url), passing.fields, content)
        except client.lost as lost:
            raise passing.error(lost) from None
        body = PassedBody(passing.pieces_async(found), aclose=found.aclose)
        return response(library, found.status, tuple(found.headers.items()), body)

    def _exchange(self, library: ModuleType, request: Any) -> Exchange:
        parts = urlsplit(str(request.url))
        base = f"{parts.scheme}://{parts.netloc}"
        if base not in self._exchanges:
            try:
                self._exchanges[base] = Exchange(None, base, NO_LIMITS, os.environ)
            except ConfigurationError as flaw:
                raise library.UnsupportedProtocol(f"{flaw}", request=request) from None
        return self._exchanges[base]


class _Passing:
    """One request on its way."""

    def __init__(self, library: ModuleType, request: Any, exchange: Exchange) -> None:
        self._library = library
        self._request = request
        self.exchange = exchange
        self.fields = written(fields_of(request))
        self.timeout_s = timeout_of(request)

    def error(self, lost: Exception) -> Exception:
        return error(self._library, self.exchange.errors(self.fields).lost(lost), self._request)

    def pieces(self, found: Any) -> Iterator[bytes]:
        client, content = self.exchange.client, iter(found.content)
        try:
            while True:
                with client.patience(self.timeout_s):
                    piece = next(content, None)
                if piece is None:
                    return
                yield bytes(piece)
        except client.lost as lost:
            raise self.error(lost) from None

    async def pieces_async(self, found: Any) -> AsyncIterator[bytes]:
        client, content = self.exchange.client, aiter(found.content)
        try:
            while True:
                async with asyncio.timeout(self.timeout_s):
                    piece = await anext(content, None)
                if piece is None:
                    return
                yield bytes(piece)
        except client.lost as lost:
            raise self.error(lost) from None
