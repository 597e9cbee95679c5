"""``apxm inspect``: what an artifact holds."""

from __future__ import annotations

from apxm.cli.inputs import refuse_source
from apxm.cli.options import JSON, Artifact
from apxm.cli.output import write


def inspect(file: Artifact, json: JSON = False) -> None:
    """Show what an artifact holds.

    Its flows, its operations, and for each two that are kept in order, both places and the rule that says so.

    \b
    Examples:
      apxm inspect workflow.apxmobj
      apxm inspect workflow.apxmobj --json
    """
    from apxm import api
    from apxm.reports import inspection
    from apxm.reports.structs import as_json

    refuse_source(file, "compile", "explain")
    found = inspection.inspect(api.load(file))
    write(as_json(found) if json else inspection.as_text(found), json)
