"""What programs read: the object of ``--json`` and the files of ``--emit-…``."""

from __future__ import annotations

import json

import msgspec

from apxm.analysis.metrics import Metrics
from apxm.operations.types import text_form
from apxm.runtime.trace import Trace


def run_json(trace: Trace, metrics: Metrics, run_id: str) -> str:
    """The one object that ``--json`` prints. Raises `OperationError` for a result too large to be written out."""
    text_form(trace.value)
    return _dump(
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
    return f"{_dump(msgspec.to_builtins(report))}\n".encode(errors="backslashreplace")


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
