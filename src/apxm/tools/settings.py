"""What a configuration may say about tools."""

from __future__ import annotations

from msgspec import Struct

from apxm.backends.numbers import Count, Seconds

Command = tuple[str, ...]
"""A program and its arguments; nothing of it is read by a shell."""


class ToolSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[tools.NAME]``: exactly one of `python`, `command` and `mcp` says what does it."""

    python: str | None = None
    """``package.module:function``"""
    command: Command | None = None
    """Gets the arguments as a JSON object on its standard input."""
    mcp: str | None = None
    """``SERVER.TOOL``: a tool of a server, which is called otherwise there."""
    env: dict[str, str] = {}
    """Further variables for a command; a value may be ``env:NAME``."""
    timeout_s: Seconds = 600.0
    """The time limit of a call that names no ``timeout:``."""
    max_concurrency: Count = 16
    """Most calls at once; the others wait."""


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[mcp.NAME]``: exactly one of `command` and `url` says where the server is."""

    command: Command | None = None
    url: str | None = None
    env: dict[str, str] = {}
    """Further variables for a command; a value may be ``env:NAME``."""
    headers: dict[str, str] = {}
    """Sent with each request to a URL; a value may be ``env:NAME``."""
    timeout_s: Seconds = 600.0
    max_concurrency: Count = 16
    """Most calls at once of each of its tools."""
    start_timeout_s: Seconds = 60.0
    """How long it may take to answer for the first time."""
