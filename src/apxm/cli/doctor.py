"""``apxm doctor``: what this installation finds, for bug reports and for people whose key is not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apxm.cli.options import JSON, Config
from apxm.cli.output import write
from apxm.errors import ConfigurationError
from apxm.reports.summary import count
from apxm.source import printable

if TYPE_CHECKING:
    from apxm.backends.protocol import BackendInfo, Limits
    from apxm.config.inventory import Inventory

_LIBRARIES = ("msgspec", "pyqwest", "typer", "uvloop")


def doctor(json: JSON = False, config: Config = None) -> None:
    """Show versions, the configuration, its backends and its tools.

    No key is ever shown, only whether it is set.

    \b
    Examples:
      apxm doctor
      apxm doctor --json
    """
    import platform
    from pathlib import Path

    import msgspec

    from apxm import __version__
    from apxm.cli.backends import backend_entries
    from apxm.cli.control import going_on
    from apxm.cli.tools import tool_entries
    from apxm.config.files import Scope, find_file
    from apxm.config.inventory import Inventory
    from apxm.config.journal_settings import runs_folder
    from apxm.config.trust import is_trusted
    from apxm.reports.structs import as_json
    from apxm.runtime.limits import is_adaptive

    found: dict[str, Any] = {
        "apxm": __version__,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": platform.platform(),
        },
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "event_loop": _event_loop(),
        "open_files": _open_files(),
        "journals": str(runs_folder()),
        "configuration": None,
        "backends": None,
        "tools": None,
        "running": msgspec.to_builtins(going_on()),
        "error": None,
    }
    inventory: Inventory | None = None
    looked, refused = False, None
    try:
        file = find_file(Path(config) if config else None)
        looked = True
        if file is not None:
            trusted = is_trusted(file.scope, file.content) if file.scope is Scope.PROJECT else None
            found["configuration"] = {"path": str(file.path), "scope": file.scope.name.lower(), "trusted": trusted}
        inventory = Inventory(config)
        limits = [
            {"limits": known.limits, "concurrency_is_found": is_adaptive(known.info, known.limits)}
            for known in inventory.backends.values()
        ]
        found["backends"] = [a | b for a, b in zip(backend_entries(inventory), limits, strict=True)]
        found["tools"] = tool_entries(inventory)
    except ConfigurationError as error:
        refused = error
        found["error"] = {"where": error.where, "message": error.message, "hint": error.hint}
    write(as_json(found) if json else "\n".join(_lines(found, looked, inventory)), json)
    if refused is not None:
        raise refused


def _lines(found: dict[str, Any], looked: bool, inventory: Inventory | None) -> list[str]:
    """What was `found`, for people. `looked` says whether it is known which configuration counts; there is no
    `inventory` where that cannot be read."""
    from apxm.cli.backends import backend_lines
    from apxm.cli.control import going_on
    from apxm.cli.runs import going_lines
    from apxm.cli.tools import tool_lines
    from apxm.reports.tables import aligned

    python, files = found["python"], found["open_files"]
    rows = [
        ["apxm", found["apxm"]],
        ["python", f"{python['version']} ({python['implementation']}, {python['platform']})"],
        ["libraries", ", ".join(f"{name} {version}" for name, version in found["libraries"].items())],
        ["event loop", found["event_loop"]],
        [
            "open files",
            f"{files['soft']} (may be raised to {files['hard']}); each call in flight needs one"
            if files
            else "no limit",
        ],
    ]
    if looked:
        rows += [["configuration", _configuration(found["configuration"], inventory)], ["journals", found["journals"]]]
    lines = aligned(rows, indent="")
    if inventory is None:
        return lines
    backends = inventory.backends.values()
    lines += ["", "backends:", *backend_lines(inventory, indent="  "), "", "limits:"]
    lines += aligned([[printable(known.name), _limits(known.info, known.limits)] for known in backends])
    if going := going_on():
        lines += ["", "running:", *(f"  {line}" for line in going_lines(going))]
    if ways := [[printable(k.name), _way(k.info.endpoint)] for k in backends if k.info.endpoint]:
        lines += ["", "proxies:", *aligned(ways)]
    if tools := tool_lines(inventory, indent="  "):
        lines += ["", "tools:", *tools]
    return [line.rstrip() for line in lines]


def _configuration(entry: dict[str, Any] | None, inventory: Inventory | None) -> str:
    """The configuration's place, and whether a project's own, which needs trust, has it for all that it sets up."""
    from apxm.config.files import user_file

    if entry is None:
        return f"none; looked for .apxm/config.toml here and above, and for {user_file()}"
    if entry["trusted"] is None or inventory is None:
        return entry["path"]
    sections = (inventory.backends, inventory.tools, inventory.servers)
    trusted = all(known.trusted for section in sections for known in section.values())
    return f"{entry['path']} ({'trusted' if trusted else 'not trusted: read it, then run apxm trust'})"


def _limits(info: BackendInfo, limits: Limits) -> str:
    """What holds for calls that name nothing themselves."""
    from apxm.runtime.limits import is_adaptive

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
    if is_adaptive(info, limits):
        parts.append("calls in flight are found")
    if limits.prices:
        parts.append(f"prices of {', '.join(map(printable, limits.prices))}")
    return ", ".join(parts)


def _way(endpoint: str) -> str:
    """How an endpoint is reached."""
    import os

    from apxm.backends.proxies import proxy_for

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


def _open_files() -> dict[str, int] | None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {"soft": soft, "hard": hard}
