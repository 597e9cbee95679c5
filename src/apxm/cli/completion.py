"""Tab completion: what a shell is given for a value, and the script that asks for it. Nothing here raises: it is called
while somebody types."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import typer

from apxm.errors import ApxmError

SETTING = "_APXM_COMPLETE"
"""The variable by which a shell's script asks for completions."""


def command_typed() -> str | None:
    """The command of the line that is being completed; None while it is still being typed."""
    line = _line()
    words = line.split()
    return words[1] if len(words) > 2 or (len(words) == 2 and line[-1].isspace()) else None


def _line() -> str:
    """The line as it is typed so far: bash has a line end after each word, others have it as it is."""
    return os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")


def script_for(arguments: list[str]) -> None:
    """``--install-completion SHELL`` and ``--show-completion SHELL``; without a shell they are typer's own options, and
    look for the one they were typed in. Anything else is left to others."""
    match arguments:
        case ["--install-completion", shell]:
            from typer.completion import install  # pyright: ignore[reportPrivateImportUsage] - typer uses it from there

            _, path = install(shell=shell, prog_name="apxm", complete_var=SETTING)
            typer.echo(f"installed in {path}; it takes effect in new shells", err=True)
        case ["--show-completion", shell]:
            from typer.completion import get_completion_script as script  # pyright: ignore[reportPrivateImportUsage] - as above

            typer.echo(script(prog_name="apxm", complete_var=SETTING, shell=shell))
        case _:
            return
    raise SystemExit(0)


def _completion(names: Callable[[dict[str, Any]], Iterable[str]]) -> Callable[[typer.Context, str], list[str]]:
    """What typer calls for a value: those of the `names`, made from the options that have their values already, that
    begin as what is typed; none where they cannot be found."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        with suppress(ApxmError, OSError):
            return [name for name in names(context.params) if name.startswith(incomplete)]
        return []

    return complete


@_completion
def run_ids(options: dict[str, Any]) -> Iterable[str]:
    """The newest first, by the names of the files alone."""
    from pathlib import Path

    from apxm.config.journal_settings import runs_folder
    from apxm.journal.runs import ids_in

    chosen = options.get("journal_dir")
    found = ids_in(Path(chosen) if chosen else runs_folder())
    return [*reversed(found), "last"]


@_completion
def backend_names(options: dict[str, Any]) -> Iterable[str]:
    from apxm.config.inventory import Inventory

    return Inventory(options.get("config")).backends


@_completion
def flow_names(options: dict[str, Any]) -> Iterable[str]:
    """The names of the flows of the file that stands on the line already."""
    from apxm import api
    from apxm.language.parser import parse, read_source

    del options  # where an option still lacks its value, there are none at all
    file = next((word for word in _line().split() if word.endswith((".ais", ".apxmobj"))), None)
    if file is None:
        return []
    if file.endswith(".ais"):
        flows = [(agent.name.text, flow.name.text) for agent in parse(read_source(file)).agents for flow in agent.flows]
    else:
        flows = [(flow.agent, flow.name) for flow in api.load(file).flows]
    return dict.fromkeys(name for agent, flow in flows for name in (flow, f"{agent}.{flow}"))


@_completion
def operation_names(options: dict[str, Any]) -> Iterable[str]:
    from apxm.operations.catalog import OPERATIONS

    del options
    return OPERATIONS


@_completion
def workload_names(options: dict[str, Any]) -> Iterable[str]:
    from apxm.workloads.catalog import WORKLOADS

    del options
    return [workload.name for workload in WORKLOADS]
