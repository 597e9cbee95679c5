"""``apxm check``: everything that can be said about sources without running them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from apxm.cli import exits
from apxm.cli.inputs import is_script, refuse_artifact
from apxm.cli.options import JSON, Config, Each
from apxm.cli.output import write
from apxm.cli.script_arguments import compares_scripts
from apxm.cli.terminal import note, show_diagnostics, show_error
from apxm.errors import SourceError, UsageError
from apxm.reports.summary import count
from apxm.source import Diagnostic


@compares_scripts
def check(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="The sources, of AIS or of Python, to check; or, with --equal, a script and what it is given.",
            show_default=False,
        ),
    ],
    equal: Annotated[
        bool,
        typer.Option(
            "--equal", help="Run a script line by line and overlapped, on a simulated model, and compare the two."
        ),
    ] = False,
    each: Each = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Of --equal: draws answers and latencies.")
    ] = None,
    schedules: Annotated[
        int | None,
        typer.Option("--schedules", min=1, metavar="N", help="Of --equal: how many orders are tried; 3."),
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="S", help="Of --equal: the most that a run may take; 120.")
    ] = None,
    config: Config = None,
    json: JSON = False,
) -> None:
    """Report all errors and warnings of source files; nothing is compiled or run.

    Of Python these are loops over `each` that no lane can run, or whose calls wait for each other, and calls of `ask`
    and its family that a run would refuse.

    With --equal, say whether anybody could tell a script of Python from itself overlapped. What stands behind a script
    is given to it.

    \b
    Examples:
      apxm check workflow.ais
      apxm check *.ais label.py --json
      apxm check --equal --each label.py:12 label.py rows.jsonl
    """
    of_equal = {"--each": each, "--seed": seed, "--schedules": schedules, "--timeout": timeout_s}
    if equal:
        from apxm.cli.check_equal import check_equal

        check_equal(files, each or (), seed or 0, schedules or 3, 120.0 if timeout_s is None else timeout_s, json)
    if given := [option for option, value in of_equal.items() if value is not None]:
        raise UsageError(f"{given[0]} is for --equal, which compares the runs of a script")
    found: list[Diagnostic] = []
    unreadable: list[UsageError] = []
    for path in files:
        try:
            found += _python(path, config) if is_script(path) else _ais(path)
        except SourceError as error:
            found += error.diagnostics
        except UsageError as error:
            show_error(error)
            unreadable.append(error)
    errors = sum(diagnostic.severity == "error" for diagnostic in found)
    if json:
        from apxm.reports.structs import check_json

        write(check_json(len(files), found, unreadable), json)
    else:
        show_diagnostics(found)
        note(f"{count(len(files), 'file')}: {count(errors, 'error')}, {count(len(found) - errors, 'warning')}")
    if unreadable or errors:
        raise typer.Exit(exits.USAGE if unreadable else exits.FAILED)


def _ais(path: str) -> Sequence[Diagnostic]:
    from apxm.compiler.check import check_source
    from apxm.language.parser import read_source

    refuse_artifact(path)
    return check_source(read_source(path))


def _python(path: str, config: str | None) -> Sequence[Diagnostic]:
    from apxm.cli.explain import checked, python_text

    return checked(path, python_text(path), config)
