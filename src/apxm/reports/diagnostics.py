"""What the checker found, for programs."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.errors import ApxmError
from apxm.reports.structs import indented
from apxm.source import Diagnostic


def as_json(files: int, diagnostics: Sequence[Diagnostic], unreadable: Sequence[ApxmError] = ()) -> str:
    """The object that ``apxm check --json`` prints. Lines and columns count from 1; the end is exclusive."""
    errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    found = {
        "files": files,
        "errors": errors,
        "warnings": len(diagnostics) - errors,
        "unreadable": [{"file": error.where, "message": error.message} for error in unreadable],
        "diagnostics": [_entry(diagnostic) for diagnostic in diagnostics],
    }
    return indented(found)


def _entry(diagnostic: Diagnostic) -> dict[str, object]:
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
