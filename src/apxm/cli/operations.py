"""``apxm ops``: what the language can do, from the table of operations."""

from __future__ import annotations

from typing import Annotated

import typer

from apxm.cli import completion
from apxm.cli.options import JSON
from apxm.cli.output import write


def ops(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this operation in full.", autocompletion=completion.operation_names),
    ] = None,
    json: JSON = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/operations.md.")] = False,
) -> None:
    """List the operations of AIS, or explain one.

    \b
    Examples:
      apxm ops
      apxm ops ask
    """
    from apxm.reports import operations_reference as report

    if json and not markdown:
        write(report.as_json(name), json)
        return
    text = report.markdown() if markdown else report.describe(name) if name else report.listing()
    write(text.removesuffix("\n"))
