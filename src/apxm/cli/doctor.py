"""``apxm doctor``: what this installation finds, for bug reports and for people whose key is not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from apxm.cli.options import Config
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.backends.protocol import Limits

_LIBRARIES = ("lark", "msgspec", "pyqwest", "typer", "uvloop", "xdsl")


def doctor(config: Config = None) -> None:
    """Show versions, the configuration and its backends.

    No key is ever shown, only whether it is set.

    \b
    Example:
      apxm doctor
    """
    import platform

    from apxm import __version__
    from apxm.cli import exits
    from apxm.cli.backends import backend_lines
    from apxm.config.runs import runs_folder
    from apxm.config.selection import describe
    from apxm.errors import ConfigurationError
    from apxm.reports.output import write
    from apxm.reports.tables import aligned
    from apxm.reports.terminal import show_error

    rows = [
        ["apxm", __version__],
        ["python", f"{platform.python_version()} ({platform.python_implementation()}, {platform.platform()})"],
        ["libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES)],
        ["event loop", _event_loop()],
        ["open files", _open_files()],
    ]
    try:
        rows += [["configuration", _configuration(config)], ["journals", str(runs_folder())]]
        described = describe(config)
        backends = backend_lines(described)
        limits = aligned([[printable(each.info.name), _limits(each.limits)] for each in described], indent="")
        ways = [[printable(each.info.name), _way(each.info.endpoint)] for each in described if each.info.endpoint]
    except ConfigurationError as error:
        write("\n".join(aligned(rows, indent="")))
        show_error(error)
        raise typer.Exit(exits.USAGE) from None
    sections = ["", "backends:", *(f"  {line}" for line in backends), "", "limits:", *(f"  {line}" for line in limits)]
    if ways:
        sections += ["", "proxies:", *(f"  {line}" for line in aligned(ways, indent=""))]
    write("\n".join(line.rstrip() for line in [*aligned(rows, indent=""), *sections]))


def _limits(limits: Limits) -> str:
    """What holds for calls that name nothing themselves."""
    from apxm.reports.summary import count

    parts = [f"{limits.timeout_s:g} s per attempt" if limits.timeout_s else "no time limit"]
    parts.append("1 retry" if limits.retries == 1 else f"{limits.retries} retries")
    for most, what in (
        (limits.max_concurrency, "call in flight"),
        (limits.requests_per_minute, "request per minute"),
        (limits.tokens_per_minute, "token per minute"),
        (limits.max_tokens, "token per answer"),
    ):
        if most is not None:
            noun, _, rest = what.partition(" ")
            parts.append(f"{count(most, noun)} {rest}")
    if limits.prices:
        parts.append(f"prices of {', '.join(map(printable, limits.prices))}")
    return ", ".join(parts)


def _way(endpoint: str) -> str:
    """How an endpoint is reached."""
    import os

    from apxm.backends.proxies import proxy_for
    from apxm.errors import ConfigurationError

    try:
        proxy = proxy_for(endpoint, os.environ)
    except ConfigurationError as error:
        return error.message
    return f"through {proxy.shown}, as {proxy.variable} says" if proxy else "none"


def _version(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return "missing"


def _event_loop() -> str:
    from apxm.runtime.loops import real_loop

    loop = real_loop()
    loop.close()
    return f"{type(loop).__module__}.{type(loop).__qualname__}"


def _open_files() -> str:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return "no limit"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{soft} (may be raised to {hard}); each call in flight needs one"


def _configuration(chosen: str | None) -> str:
    from pathlib import Path

    from apxm.config.files import Scope, find_file, user_file
    from apxm.config.trust import is_trusted

    file = find_file(Path(chosen) if chosen else None)
    if file is None:
        return f"none; looked for .apxm/config.toml here and above, and for {user_file()}"
    trust = "trusted" if is_trusted(file.scope, file.content) else "not trusted: read it, then run apxm trust"
    return f"{file.path} ({trust})" if file.scope is Scope.PROJECT else str(file.path)
