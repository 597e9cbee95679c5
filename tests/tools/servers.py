"""Servers of the Model Context Protocol for tests, written with its SDK: ``python -m tests.tools.servers KIND``."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import MCPServer, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp_types import ListToolsResult, PaginatedRequestParams, Tool, ToolAnnotations

server = MCPServer("tests")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def search(q: str, limit: int = 5) -> list[str]:
    """Finds something."""
    return [f"{q} {number}" for number in range(limit)]


@server.tool()
def weight(what: str) -> float:
    return float(len(what))


@server.tool()
def text(what: str) -> str:
    return f"text of {what}"


@server.tool()
def fields(what: str) -> dict[str, str]:
    return {"what": what}


@server.tool()
def refuse(what: str) -> str:
    raise ToolError(f"no {what} today")


def _leave(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()))


@server.tool()
async def hang(mark: str) -> str:
    """Leaves a mark that it was called, and never answers."""
    _leave(mark)
    await asyncio.Event().wait()
    raise AssertionError


@server.tool()
def die(words: str) -> str:
    print(words, file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
def chat(what: str) -> str:
    """Says something on the standard output of the server, which is no message."""
    os.write(_STDOUT, b"a line of a log\n{}\n[1, 2]\n")
    return what


_STDOUT = os.dup(1)


async def list_without_end(context: ServerRequestContext[Any], page: PaginatedRequestParams | None) -> ListToolsResult:
    """Pages of tools, each with a next one."""
    del context, page
    return ListToolsResult(tools=[Tool(name="one", input_schema={"type": "object"})], next_cursor="again")


async def serve(low: Server[Any]) -> None:
    async with stdio_server() as (reads, writes):
        await low.run(reads, writes, low.create_initialization_options())


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind == "stdio":
        server.run("stdio")
    elif kind == "http":
        uvicorn.run(server.streamable_http_app(), fd=int(arguments[0]), log_level="critical")
    elif kind == "endless":
        asyncio.run(serve(Server("endless", on_list_tools=list_without_end)))
    elif kind == "silent":
        for mark in arguments:
            _leave(mark)
        sys.stdin.read()
    elif kind == "broken":
        print("no such model", file=sys.stderr)
        sys.exit(2)
