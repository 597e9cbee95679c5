"""``apxm check``: everything that can be said about sources without running them."""

from __future__ import annotations

from typing import Annotated

import typer

from apxm.cli import exits
from apxm.cli.inputs import refuse_artifact
from apxm.cli.options import JSON
from apxm.cli.output import write
from apxm.cli.terminal import note, show_diagnostics, show_error
from apxm.errors import SourceError, UsageError
from apxm.reports.summary import count
from apxm.source import Diagnostic


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE.ais…", help="The sources to check.", show_default=False)],
    json: JSON = False,
) -> None:
    """Report all errors and warnings of source files.

    Nothing is compiled or run.

    \b
    Examples:
      apxm check workflow.ais
      apxm check *.ais --json
    """
    from apxm.compiler.check import check_source
    from apxm.language.parser import read_source

    found: list[Diagnostic] = []
    unreadable: list[UsageError] = []
    for path in files:
        try:
            refuse_artifact(path)
            found += check_source(read_source(path))
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
