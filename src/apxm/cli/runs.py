"""``apxm runs``: what the journals of earlier runs hold, and what may be said to those that go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apxm.cli.options import JSON, JournalDir, RunId
from apxm.cli.output import write
from apxm.cli.terminal import note
from apxm.errors import UsageError
from apxm.reports.summary import count
from apxm.source import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from apxm.cli.control import Going, LimitOf

runs_app = typer.Typer(
    help="List, show or remove journaled runs; limit one that goes on.", no_args_is_help=True, rich_markup_mode=None
)


@runs_app.command("list")
def list_runs(json: JSON = False, journal_dir: JournalDir = None) -> None:
    """List the runs, the newest first: id, status, operations finished, size, start, program.

    \b
    Examples:
      apxm runs list
      apxm runs list --json --journal-dir ./runs
    """
    from apxm.garbage import without_collector
    from apxm.journal import runs
    from apxm.reports.journaled_runs import runs_text
    from apxm.reports.structs import as_json

    with without_collector():  # of a hundred thousand, none is garbage
        found = runs.list_runs(folder_of(journal_dir))
        text = as_json(found) if json else "\n".join(runs_text(found))
        if text:
            write(text, json)


@runs_app.command("show")
def show(
    run: RunId,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Show each call: its system text, its prompt, its answer.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the process of a run that goes on what it is doing, journaled or not.")
    ] = False,
    json: JSON = False,
    journal_dir: JournalDir = None,
) -> None:
    """Show what a run is and what it has finished. It may be running.

    \b
    Examples:
      apxm runs show 20260131-235959-k3vd
      apxm runs show last --live
      apxm runs show k3vd --json
      apxm runs show last --prompts
    """
    if live:
        if prompts:
            raise UsageError("--prompts shows what the journal has, --live what a process does: give one of them")
        _show_live(run, json)
        return
    from apxm.journal import runs
    from apxm.reports.journaled_runs import run_json, run_text

    folder = folder_of(journal_dir)
    found, history = runs.show_run(folder, runs.find_run(folder, run))
    if prompts and history.header.kind in ("flow", "script"):
        raise UsageError(
            f"run {found.id} is one of Python, whose prompts its code makes: the journal has their answers only",
            hint=f"`apxm runs show {found.id}` shows these",
        )
    if prompts:
        from apxm.reports.prompts import prompts_builtins, prompts_text
        from apxm.runtime.replay import replayed_calls

        calls = replayed_calls(history)
        texts = [run_json(found, history, prompts_builtins(calls, history))] if json else prompts_text(calls, history)
    else:
        texts = [run_json(found, history)] if json else run_text(found, history)
    for text in texts:
        write(text, json)


def _show_live(run: str, json: bool) -> None:
    import sys

    from apxm.cli.control import Wanted, tell_run
    from apxm.reports.progress import state_lines
    from apxm.reports.structs import as_json

    found = tell_run(run, Wanted(state=True))
    if found.state is None:
        raise UsageError(f"{found.id} is a batch, which is many runs", hint="its own lines say how far it is")
    if json:
        write(as_json({"id": found.id, "program": found.program, "state": found.state}), json)
        return
    for line in (f"run {found.id}: {printable(found.program)}", *state_lines(found.state, sys.maxsize)):
        write(line)


@runs_app.command("prune")
def prune(
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, metavar="N", help="Remove what was last written longer ago.")
    ] = 30,
    keep_bytes: Annotated[
        str,
        typer.Option("--keep-bytes", metavar="SIZE", help="Then the oldest, until the rest fits: 500MB, 1GiB, …"),
    ] = "1GiB",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: JSON = False,
    journal_dir: JournalDir = None,
) -> None:
    """Remove old runs. One that is running stays; one that was interrupted goes too, and cannot be resumed then.

    \b
    Examples:
      apxm runs prune --dry-run
      apxm runs prune --keep-days 7 --keep-bytes 200MB
    """
    import time
    from math import isnan

    from apxm.journal import pruning
    from apxm.reports.journaled_runs import pruned_json, pruned_text, size

    if isnan(keep_days):  # of which `min` does not see that it is no number
        raise UsageError("--keep-days is a number of days, not nan")
    remove = pruning.prunable if dry_run else pruning.prune
    gone = remove(folder_of(journal_dir), now=time.time(), keep_days=keep_days, keep_bytes=parse_size(keep_bytes))
    for text in [pruned_json(gone)] if json else pruned_text(gone):
        write(text, json)
    total = size(sum(run.size_bytes for run in gone))
    note(f"{'would remove' if dry_run else 'removed'} {count(len(gone), 'run')}, {total}")


@runs_app.command("limit")
def limit(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="One that goes on; `last` is the one that began last.", show_default=False),
    ] = None,
    most: Annotated[
        str | None,
        typer.Argument(metavar="[N]", help="From now on so many calls in flight, or `auto`.", show_default=False),
    ] = None,
    backend: Annotated[str | None, typer.Option("--backend", metavar="NAME", help="Of this backend only.")] = None,
    json: JSON = False,
) -> None:
    """Show, or change while it goes on, how many calls of a run are in flight at most. It holds for its process.

    \b
    Examples:
      apxm runs limit
      apxm runs limit last 16
      apxm runs limit k3vd 200 --backend local
      apxm runs limit k3vd auto
    """
    from apxm.cli.control import Wanted, going_on, tell_run
    from apxm.reports.structs import as_json

    if run is None:
        found = going_on()
        texts = [as_json(found)] if json else going_lines(found)
    else:
        found = tell_run(run, Wanted(most is not None, _most(most), backend))
        texts = [as_json(found)] if json else going_lines([found])
    for text in texts:
        write(text, json)
    if run is None and not found and not json:
        note("no run goes on that can be reached")


def going_lines(runs: Sequence[Going]) -> list[str]:
    """A line for each backend of runs that go on."""
    from apxm.reports.tables import aligned

    rows = [
        [run.id, printable(run.program), printable(each.backend), f"{each.in_flight:,} in flight", _at_most(each)]
        for run in runs
        for each in run.backends
    ]
    return aligned(rows, indent="") if rows else []


def _at_most(each: LimitOf) -> str:
    return "no limit" if each.limit is None else f"at most {each.limit:,} ({each.by})"


def _most(text: str | None) -> int | None:
    """A number of calls; None for ``auto``. Raises `UsageError`."""
    from apxm.backends.numbers import count as counted

    if text is None or text == "auto":
        return None
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"the limit is a number of calls from 1, or auto, not {text!r}")
    return counted(int(text), "the limit")


_LONGEST_SIZE = 40


def parse_size(text: str) -> int:
    """``1048576``, ``500MB``, ``1.5 GiB``. Raises `UsageError`."""
    import re

    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(?:([KMGT])(I?)B?|B)?", text.strip().upper())
    if not match:
        raise UsageError(f"--keep-bytes {text!r} is no size", hint="for instance 1048576, 500MB or 1GiB")
    number, unit, binary = match.groups()
    if len(number) > _LONGEST_SIZE:  # beyond it a float may be infinite
        raise UsageError(f"--keep-bytes is a number of {len(number)} digits, which no disk holds")
    return int(float(number) * (1024 if binary else 1000) ** (" KMGT".index(unit) if unit else 0))


def folder_of(chosen: str | None) -> Path:
    """Raises `UsageError`. The default one need not exist."""
    from pathlib import Path

    from apxm.config.journal_settings import runs_folder

    if chosen is None:
        return runs_folder()
    folder = Path(chosen)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {chosen!r}", hint="--journal-dir names one that holds journals")
    return folder
