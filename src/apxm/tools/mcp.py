"""What is asked of a server through the SDK of the Model Context Protocol. The only file that loads it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any, TextIO, cast

from apxm.errors import ConfigurationError
from apxm.tools.schemas import Schema, properties_of
from apxm.tools.settings import Command, ServerSettings
from apxm.tools.tool import Arguments, ConnectionLostError, ToolAnswer, failed, shown
from apxm.version import VERSION

try:
    from httpx2 import Timeout
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client
    from mcp_types import CONNECTION_CLOSED, Implementation, TextContent, Tool
except ImportError as missing:
    raise ConfigurationError(
        f"servers of tools need a library that is not installed ({missing})", hint="pip install 'apxm[mcp]'"
    ) from None

# A line of a server that is no message goes to the log with a traceback, and without a handler to the terminal.
logging.getLogger("mcp").addHandler(logging.NullHandler())

_CONNECT_S = 30.0
_LAST_WORDS = 1000
"""Characters of a server's standard error that a message shows."""


@dataclass(frozen=True)
class Offer:
    """A tool as its server describes it."""

    taken: Schema
    given: Schema | None
    hints: Mapping[str, bool]
    """What the server says of it, such as ``readOnlyHint``. Nobody vouches for that."""
    description: str = ""


class Connection:
    """A server that answered."""

    def __init__(self, client: Client, log: TextIO) -> None:
        """`log` gets what the server says on its standard error."""
        self._client = client
        self._log = log

    async def offers(self) -> dict[str, Offer]:
        """The tools that the server has, by name."""
        found: dict[str, Offer] = {}
        cursor: str | None = None
        while True:
            page = await self._client.list_tools(cursor=cursor, cache_mode="refresh")
            found |= {tool.name: _offer(tool) for tool in page.tools}
            cursor = page.next_cursor
            if cursor is None:
                return found

    async def call(self, tool: str, called: str, arguments: Arguments) -> ToolAnswer:
        """What `tool` gives, which messages call `called`. Raises `OperationError`, and `ConnectionLostError`."""
        try:
            result = await self._client.call_tool(tool, arguments)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise ConnectionLostError(error.message) from None
            raise failed(called, error.message) from None
        texts = [part.text for part in result.content if isinstance(part, TextContent)]
        if result.is_error:
            raise failed(called, "\n".join(texts) or "it says no more than that it failed")
        if result.structured_content is not None:
            return ToolAnswer(_unwrapped(result.structured_content))
        if len(texts) < len(result.content):
            kinds = sorted({part.type for part in result.content} - {"text"})
            raise failed(called, f"it gave {' and '.join(kinds)}, and only text and JSON are values")
        return ToolAnswer(text="\n".join(texts)) if texts else ToolAnswer()

    @property
    def last_words(self) -> str:
        """The end of what the server said on its standard error."""
        return _end_of(self._log)


@asynccontextmanager
async def connected(
    settings: ServerSettings, command: Command | None, environment: Mapping[str, str], headers: Mapping[str, str]
) -> AsyncGenerator[Connection]:
    """A connection, over standard input and output where there is a `command`, of whichever version of the protocol the
    server knows."""
    # Not a pipe, which somebody would have to read.
    with TemporaryFile("w+", errors="replace") as file:
        log = cast(TextIO, file)
        async with AsyncExitStack() as stack:
            try:
                client = await stack.enter_async_context(
                    await _client(stack, settings, command, environment, headers, log)
                )
            except Exception as error:
                raise ConnectionLostError(f"{shown(error)}{_end_of(log)}") from error
            yield Connection(client, log)


async def _client(
    stack: AsyncExitStack,
    settings: ServerSettings,
    command: Command | None,
    environment: Mapping[str, str],
    headers: Mapping[str, str],
    log: TextIO,
) -> Client:
    if command is not None:
        program, *arguments = command
        server = StdioServerParameters(command=program, args=arguments, env=dict(environment))
        transport = stdio_client(server, errlog=log)
    else:
        assert settings.url is not None
        timeout = Timeout(_CONNECT_S, read=settings.timeout_s)
        http = await stack.enter_async_context(create_mcp_http_client(headers=dict(headers), timeout=timeout))
        transport = streamable_http_client(settings.url, http_client=http)
    return Client(transport, client_info=Implementation(name="apxm", version=VERSION), cache=None)


def _end_of(log: TextIO) -> str:
    log.seek(0)
    words = log.read().strip()[-_LAST_WORDS:]
    return f"; it said: {words}" if words else ""


def _offer(tool: Tool) -> Offer:
    annotations = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else {}
    hints = {name: value for name, value in annotations.items() if isinstance(value, bool)}
    return Offer(tool.input_schema, _inner(tool.output_schema), hints, tool.description or "")


def _inner(given: Schema | None) -> Schema | None:
    """The schema of what is wrapped in an object with the one field ``result``, as servers do with all but objects."""
    properties = properties_of(given)
    return properties["result"] if set(properties) == {"result"} else given


def _unwrapped(value: Any) -> Any:
    fields = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    return fields["result"] if set(fields) == {"result"} else cast(Any, value)
