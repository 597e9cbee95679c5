"""``apxm report``: the page of a run that was journaled, or of two beside each other."""

from __future__ import annotations

from typing import Annotated

import typer

from apxm.cli import options as o
from apxm.cli.terminal import note


def report(
    run: o.RunId,
    other: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A second run, to compare with it.", show_default=False)
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="F.html", help="Where to; default: ID.html, or ID-ID.html.")
    ] = None,
    redact: o.Redact = False,
    journal_dir: o.JournalDir = None,
) -> None:
    """Write a page for a browser: what the run took, its timeline, its graph, prompts, answers and source.

    \b
    Examples:
      apxm report last
      apxm report k3vd -o run.html
      apxm report k3vd --redact
      apxm report k3vd last -o compared.html
    """
    from msgspec.structs import replace

    from apxm.cli.inputs import refuse_overwriting
    from apxm.cli.runs import folder_of
    from apxm.files import OutputFile
    from apxm.journal import runs
    from apxm.reports.page.journaled import journaled
    from apxm.reports.page.page import comparison_page, run_page
    from apxm.reports.page.sources import sources_of
    from apxm.source import printable

    folder = folder_of(journal_dir)
    found = [runs.show_run(folder, runs.find_run(folder, each)) for each in (run, other) if each is not None]
    path = output if output is not None else f"{'-'.join(summary.id for summary, _ in found)}.html"
    read = {f"the program of run {summary.id}": history.header.path for summary, history in found}
    refuse_overwriting(read, {"--output": path})
    with OutputFile(path) as file:
        reported = [
            replace(journaled(summary.id, history, redacts=redact), goes_on=summary.status == "running")
            for summary, history in found
        ]
        sources = sources_of(reported[-1].trace)
        if len(reported) == 1:
            file.write(run_page(reported[0], sources))
        else:
            first, second = ({p: each.value for p, each in history.results.items()} for _, history in found)
            file.write(comparison_page((reported[0], reported[1]), (first, second), sources))
    note(printable(f"wrote {path}"))
