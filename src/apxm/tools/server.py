"""A server of tools: begun when it is first needed, in a task of its own.

It is left in that same task, since what the SDK opens has to be closed where it was opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

import msgspec

from apxm.backends.dialogue import OfferedTool
from apxm.errors import ConfigurationError, OperationError
from apxm.tools.schemas import Declaration, misfits
from apxm.tools.settings import Command, ServerSettings, ToolSettings
from apxm.tools.tool import Arguments, CallTool, ConnectionLostError, ToolAnswer, failed, shown

if TYPE_CHECKING:
    from apxm.tools.mcp import Connection, Offer

T = TypeVar("T")
Variables = Callable[[], Mapping[str, str]]

_GRACE_S = 10.0
"""How long a server may take to be left, which ends its process."""


class Server:
    """Begun by the first call. What breaks in its connection is an error of calls, not a cancellation of whoever makes
    them."""

    def __init__(
        self,
        name: str,
        settings: ServerSettings,
        command: Command | None,
        allow: Callable[[], object],
        environment: Variables,
        headers: Variables,
    ) -> None:
        """`allow`, `environment` and `headers` raise `ConfigurationError` where it must not be begun, or cannot."""
        self.name = name
        self.settings = settings
        self._command = command
        self._allow = allow
        self._environment = environment
        self._headers = headers
        self._visit: _Visit | None = None
        """The connection that there is, or is being made."""

    def tool(self, own: str, called: str | None = None, settings: ToolSettings | None = None) -> ServerTool:
        """The tool that is called `own` there."""
        limits = settings or self.settings
        return ServerTool(self, own, called or f"{self.name}.{own}", limits.timeout_s, limits.max_concurrency)

    async def offers(self) -> Mapping[str, Offer]:
        """The tools that it says it has. Raises `OperationError`, also where it does not come to their end."""
        limit_s = self.settings.start_timeout_s

        async def listed(connection: Connection) -> Mapping[str, Offer]:
            try:
                async with asyncio.timeout(limit_s):
                    return await connection.offers()
            except TimeoutError:
                message = f"server {self.name!r} did not list its tools within {limit_s:g} s"
                raise OperationError("timeout", message) from None

        return await self.ask(listed)

    async def ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        """Raises `OperationError`, also where it cannot be begun or ends meanwhile; then the next call begins it
        anew."""
        visit = self._visit
        if visit is None or visit.over:
            visit = self._visit = _Visit(self)
        connection = await visit.connection(self.settings.start_timeout_s)
        asked = asyncio.ensure_future(question(connection))
        try:
            await asyncio.wait({asked, visit.task}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
        except OperationError:
            raise
        except Exception as error:
            if not visit.breaks(error):
                raise failed(self.name, shown(error)) from error
        finally:
            asked.cancel()
        raise await visit.lost()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Connection]:
        """Begins it, and leaves it at the end. Raises `ConfigurationError` where it must not be begun, or cannot."""
        self._allow()
        # In a thread, since it takes a second: with it comes all of the SDK.
        sdk = await asyncio.to_thread(import_module, "apxm.tools.mcp")
        async with sdk.connected(self.settings, self._command, self._environment(), self._headers()) as connection:
            yield connection

    async def close(self) -> None:
        """Leaves it, and returns when it has ended. It may be begun again."""
        visit, self._visit = self._visit, None
        if visit is not None:
            await visit.end()


class _Visit:
    """One connection, from its begin to its end, in a task of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._begun: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._stay(), name=f"mcp {server.name}")
        self._last_words = ""

    @property
    def over(self) -> bool:
        return self.task.done() or self._leave.is_set()

    async def _stay(self) -> None:
        async with self._server.open() as connection:
            self._begun.set_result(connection)
            await self._leave.wait()
            self._last_words = connection.last_words

    async def connection(self, limit_s: float) -> Connection:
        """Raises `OperationError`."""
        await asyncio.wait({self._begun, self.task}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if self._begun.done():
            return self._begun.result()
        if self.task.done():
            raise await self.lost()
        await self.end()
        raise OperationError("timeout", f"server {self._server.name!r} did not answer within {limit_s:g} s")

    def breaks(self, error: Exception) -> bool:
        """Whether an error of a call says that the connection is no more."""
        return self.task.done() or isinstance(error, ConnectionLostError)

    async def lost(self) -> OperationError:
        """Why there is no connection any more."""
        name = self._server.name
        await self.end()
        error = None if self.task.cancelled() else self.task.exception()
        if isinstance(error, ConfigurationError):
            return OperationError("configuration", str(error))
        what = "ended" if self._begun.done() else "cannot be begun"
        why = "" if error is None else f": {shown(error)}"
        return OperationError("connection", f"server {name!r} {what}{why}{self._last_words}")

    async def end(self) -> None:
        """Leaves the server, and returns when that is done, one way or the other."""
        self._leave.set()
        if not self._begun.done():
            self.task.cancel()
        _, late = await asyncio.wait({self.task}, timeout=_GRACE_S)
        for task in late:
            task.cancel()
            await asyncio.wait({task})


class ServerTool(CallTool):
    """One of its tools, under the name by which programs call it."""

    def __init__(self, server: Server, own: str, name: str, timeout_s: float, most: int) -> None:
        self.server = server
        self.own = own
        self.name = name
        self.timeout_s = timeout_s
        self._slots = asyncio.Semaphore(most)

    async def call(self, arguments: Arguments) -> ToolAnswer:
        async with self._slots:
            return await self.server.ask(lambda connection: connection.call(self.own, self.name, arguments))

    async def offered(self) -> OfferedTool:
        offer = (await self.server.offers()).get(self.own)
        if offer is None:
            raise ConfigurationError(f"server {self.server.name!r} has no tool {self.own!r}")
        return OfferedTool(self.name, msgspec.json.encode(offer.taken).decode(), offer.description)

    async def flaws(self, declared: Declaration | None) -> list[str]:
        try:
            offers = await self.server.offers()
        except OperationError as error:
            return [error.message]
        offer = offers.get(self.own)
        if offer is None:
            return [f"server {self.server.name!r} has no tool {self.own!r}; it has {', '.join(offers) or 'none'}"]
        return [] if declared is None else misfits(declared, offer.taken, offer.given)

    async def hints(self) -> Mapping[str, bool]:
        try:
            offer = (await self.server.offers()).get(self.own)
        except OperationError:
            return {}
        return {} if offer is None else offer.hints
