"""The tools of a run: what is configured, or what stands for all of it in a dry run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from apxm.backends.secrets import reference
from apxm.config.inventory import Inventory, KnownTool
from apxm.errors import ConfigurationError, hint_for
from apxm.tools.server import Server
from apxm.tools.settings import Command, ServerSettings, ToolSettings
from apxm.tools.tool import CallTool
from apxm.tools.toolbox import Known, Toolbox


def configured_tools(inventory: Inventory) -> Toolbox:
    """The tools that are set up, none of them begun."""
    servers = {name: _server(known) for name, known in inventory.servers.items()}
    tools = {name: Known(partial(_tool, known, servers), known.where) for name, known in inventory.tools.items()}
    return Toolbox(tools, servers)


def _tool(known: KnownTool[ToolSettings], servers: Mapping[str, Server]) -> CallTool:
    """Raises `ConfigurationError`, also where its file is not trusted."""
    known.must_be_trusted()
    name, settings = known.name, known.settings
    if settings.python is not None:
        from apxm.tools.python import PythonTool, imported

        find = partial(imported, settings.python, known.folder, known.where)
        return PythonTool(name, find, settings.timeout_s, settings.max_concurrency)
    if settings.command is not None:
        from apxm.tools.command import CommandTool

        command, environment = _command(settings.command, known.folder), _variables(settings.env, known.where)
        return CommandTool(name, command, environment, settings.timeout_s, settings.max_concurrency)
    server, _, own = (settings.mcp or "").partition(".")
    if server not in servers:
        hint = hint_for(server, servers, f"[mcp.{server}] sets it up")
        raise ConfigurationError(f"there is no server {server!r}", where=known.where, hint=hint)
    return servers[server].tool(own, called=name, settings=settings)


def _server(known: KnownTool[ServerSettings]) -> Server:
    settings = known.settings
    command = None if settings.command is None else _command(settings.command, known.folder)
    return Server(
        known.name,
        settings,
        command,
        known.must_be_trusted,
        _variables(settings.env, known.where),
        _variables(settings.headers, known.where),
    )


def _command(command: Command, folder: str | None) -> Command:
    """The command, with a program of the project found from wherever it is run."""
    program, *arguments = command
    if folder is not None and os.sep in program and not os.path.isabs(program):
        program = os.path.join(folder, program)
    return (program, *arguments)


def _variables(said: Mapping[str, str], where: str | None) -> Callable[[], Mapping[str, str]]:
    """Gives the values, those of ``env:NAME`` read. Raises `ConfigurationError` where one is not set."""

    def read() -> Mapping[str, str]:
        found: dict[str, str] = {}
        for name, value in said.items():
            variable = reference(value)
            if variable is not None and variable not in os.environ:
                raise ConfigurationError(f"{name} is read from {variable}, which is not set", where=where)
            found[name] = value if variable is None else os.environ[variable]
        return found

    return read
