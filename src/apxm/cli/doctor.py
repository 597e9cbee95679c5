"""``apxm doctor``: what this installation finds, for bug reports and for people whose key is not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from apxm.cli.options import JSON, Config
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.backends.protocol import Limits

_LIBRARIES = ("msgspec", "pyqwest", "typer", "uvloop")


def doctor(json: JSON = False, config: Config = None) -> None:
    """Show versions, the configuration and its backends.

    No key is ever shown, only whether it is set.

    \b
    Examples:
      apxm doctor
      apxm doctor --json
    """
    if json:
        _print_json(config)
        return
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
        path, is_projects = _configuration(config)
        rows += [["configuration", path], ["journals", str(runs_folder())]]
        described = describe(config)
        if is_projects:
            trusted = all(each.trusted for each in described)
            rows[-2][1] += " (trusted)" if trusted else " (not trusted: read it, then run apxm trust)"
        backends = backend_lines(described, indent="  ")
        limits = aligned([[printable(each.info.name), _limits(each.limits)] for each in described])
        ways = [[printable(each.info.name), _way(each.info.endpoint)] for each in described if each.info.endpoint]
    except ConfigurationError as error:
        write("\n".join(aligned(rows, indent="")))
        show_error(error)
        raise typer.Exit(exits.USAGE) from None
    sections = ["", "backends:", *backends, "", "limits:", *limits]
    if ways:
        sections += ["", "proxies:", *aligned(ways)]
    write("\n".join(line.rstrip() for line in [*aligned(rows, indent=""), *sections]))


def _print_json(config: str | None) -> None:
    """The same as one object. A configuration that cannot be read is an `error` in it, and an error as usual."""
    import platform
    from json import dumps

    from apxm import __version__
    from apxm.cli.backends import backend_entry
    from apxm.config.runs import runs_folder
    from apxm.config.selection import describe
    from apxm.errors import ConfigurationError
    from apxm.reports.output import write_json

    found: dict[str, object] = {
        "apxm": __version__,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": platform.platform(),
        },
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "event_loop": _event_loop(),
        "open_files": _open_file_limits(),
        "journals": str(runs_folder()),
        "configuration": None,
        "backends": None,
        "error": None,
    }
    refused: ConfigurationError | None = None
    try:
        found["configuration"] = _configuration_entry(config)
        found["backends"] = [backend_entry(each) | {"limits": _limits_entry(each.limits)} for each in describe(config)]
    except ConfigurationError as error:
        refused = error
        found["error"] = {"where": error.where, "message": error.message, "hint": error.hint}
    write_json(dumps(found, ensure_ascii=False, indent=2))
    if refused is not None:
        raise refused


def _limits_entry(limits: Limits) -> dict[str, object]:
    from msgspec import to_builtins

    return to_builtins(limits)


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
    limits = _open_file_limits()
    if limits is None:
        return "no limit"
    return f"{limits['soft']} (may be raised to {limits['hard']}); each call in flight needs one"


def _open_file_limits() -> dict[str, int] | None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {"soft": soft, "hard": hard}


def _configuration_entry(chosen: str | None) -> dict[str, object] | None:
    """None where there is no file. `trusted` is null where a file needs no trust."""
    from pathlib import Path

    from apxm.config.files import Scope, find_file
    from apxm.config.trust import is_trusted

    file = find_file(Path(chosen) if chosen else None)
    if file is None:
        return None
    of_a_project = file.scope is Scope.PROJECT
    trusted = is_trusted(file.scope, file.content) if of_a_project else None
    return {"path": str(file.path), "scope": file.scope.name.lower(), "trusted": trusted}


def _configuration(chosen: str | None) -> tuple[str, bool]:
    """Its place, and whether it is a project's own, which needs trust."""
    from pathlib import Path

    from apxm.config.files import Scope, find_file, user_file

    file = find_file(Path(chosen) if chosen else None)
    if file is None:
        return f"none; looked for .apxm/config.toml here and above, and for {user_file()}", False
    return str(file.path), file.scope is Scope.PROJECT
