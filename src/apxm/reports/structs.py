"""What programs read: the objects of ``--json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from apxm.operations.types import text_form

if TYPE_CHECKING:  # `apxm check` and `apxm runs`, which need neither, write JSON too
    from apxm.analysis.metrics import Metrics
    from apxm.errors import ApxmError
    from apxm.runtime.trace import Trace
    from apxm.source import Diagnostic


def run_json(trace: Trace, metrics: Metrics, run_id: str) -> str:
    """The one object that ``--json`` prints. Raises `OperationError` for a result too large to be written out."""
    text_form(trace.value)
    return as_json(
        {
            "run_id": run_id,
            "status": trace.status.value,
            "result": trace.value,
            "printed": trace.printed,
            "failures": [failure._asdict() for failure in trace.failures],
            "caught": [failure._asdict() for failure in trace.caught],
            "metrics": metrics,
        }
    )


def as_json(found: object) -> str:
    """What was `found`, structs and dataclasses included, as JSON that people can read, too."""
    return json.dumps(msgspec.to_builtins(found), ensure_ascii=False, indent=2)


def check_json(files: int, diagnostics: Sequence[Diagnostic], unreadable: Sequence[ApxmError] = ()) -> str:
    """The object that ``apxm check --json`` prints. Lines and columns count from 1; the end is exclusive."""
    errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    found = {
        "files": files,
        "errors": errors,
        "warnings": len(diagnostics) - errors,
        "unreadable": [{"file": error.where, "message": error.message} for error in unreadable],
        "diagnostics": [diagnostic_entry(diagnostic) for diagnostic in diagnostics],
    }
    return as_json(found)


def diagnostic_entry(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as ``--json`` has it."""
    span = diagnostic.span
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.path,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "help": diagnostic.help,
    }
