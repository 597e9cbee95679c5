"""What programs read: the objects of ``--json`` and the files of ``--emit-…``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from apxm.operations.types import text_form

if TYPE_CHECKING:  # `apxm check` and `apxm runs`, which need neither, write JSON too
    from apxm.analysis.metrics import Metrics
    from apxm.runtime.trace import Trace


def run_json(trace: Trace, metrics: Metrics, run_id: str) -> str:
    """The one object that ``--json`` prints. Raises `OperationError` for a result too large to be written out."""
    text_form(trace.value)
    return indented(
        {
            "run_id": run_id,
            "status": trace.status.value,
            "result": trace.value,
            "printed": trace.printed,
            "failures": [failure._asdict() for failure in trace.failures],
            "metrics": msgspec.to_builtins(metrics),
        }
    )


def json_file(report: msgspec.Struct) -> bytes:
    """The content of the file of ``--emit-diagnostics``."""
    # A lone surrogate, which UTF-8 cannot hold, becomes the JSON escape for it.
    return f"{as_json(report)}\n".encode(errors="backslashreplace")


def as_json(found: msgspec.Struct) -> str:
    return indented(msgspec.to_builtins(found))


def indented(value: object) -> str:
    """JSON that people can read, too."""
    return json.dumps(value, ensure_ascii=False, indent=2)
