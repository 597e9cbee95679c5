"""Tab completion: what a shell is given for a value, and the script that asks for it. Nothing here raises: it is called
while somebody types."""

from __future__ import annotations

import os
from contextlib import suppress

import typer

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


def run_ids(context: typer.Context, incomplete: str) -> list[str]:
    """The newest first, by the names of the files alone."""
    from pathlib import Path

    from apxm.config.journal_settings import runs_folder
    from apxm.errors import ApxmError
    from apxm.journal.folder import runs_in

    chosen = context.params.get("journal_dir")
    with suppress(ApxmError, OSError):
        found = [run.files.run_id for run in runs_in(Path(chosen) if chosen else runs_folder()) if run.has_journal]
        return [name for name in [*reversed(found), "last"] if name.startswith(incomplete)]
    return []


def backend_names(context: typer.Context, incomplete: str) -> list[str]:
    from apxm.config.inventory import Inventory
    from apxm.errors import ApxmError

    with suppress(ApxmError, OSError):
        return [name for name in Inventory(context.params.get("config")).backends if name.startswith(incomplete)]
    return []


def flow_names(context: typer.Context, incomplete: str) -> list[str]:
    """The names of the flows of the file that stands on the line already."""
    from apxm import api
    from apxm.errors import ApxmError
    from apxm.language.parser import parse, read_source

    del context  # where an option still lacks its value, it has no values at all
    file = next((word for word in _line().split() if word.endswith((".ais", ".apxmobj"))), None)
    if file is None:
        return []
    with suppress(ApxmError, OSError):
        if file.endswith(".ais"):
            flows = [
                (agent.name.text, flow.name.text) for agent in parse(read_source(file)).agents for flow in agent.flows
            ]
        else:
            flows = [(flow.agent, flow.name) for flow in api.load(file).flows]
        names = [name for agent, flow in flows for name in (flow, f"{agent}.{flow}")]
        return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
    return []


def operation_names(context: typer.Context, incomplete: str) -> list[str]:
    from apxm.operations.catalog import OPERATIONS

    del context
    return [name for name in OPERATIONS if name.startswith(incomplete)]


def workload_names(context: typer.Context, incomplete: str) -> list[str]:
    from apxm.workloads.catalog import WORKLOADS

    del context
    return [workload.name for workload in WORKLOADS if workload.name.startswith(incomplete)]
