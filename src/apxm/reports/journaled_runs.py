"""The runs in a folder of journals: ``apxm runs``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from apxm.backends.protocol import UNKNOWN_USAGE, Usage
from apxm.journal.rows import Answered, Edited, Header, History, TimedRow, Traced
from apxm.journal.runs import RunSummary
from apxm.operations.types import Value
from apxm.reports.structs import as_json
from apxm.reports.summary import count
from apxm.reports.tables import aligned
from apxm.source import shortened

if TYPE_CHECKING:
    from apxm.journal.pruning import KeptRun

_LONGEST = 60
"""Characters of a text that others are shown beside."""
_NO_USAGE = Usage(0, 0)
"""That of a tool."""
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def runs_text(runs: Sequence[RunSummary]) -> list[str]:
    """One line each."""
    rows = [
        [
            run.id,
            run.status,
            "" if run.operations is None else count(run.operations, "operation"),
            size(run.size_bytes),
            run.started,
            "" if run.program is None else f"{run.program}: {run.flow}",
        ]
        for run in runs
    ]
    return aligned(rows, indent="") if rows else []


def run_json(run: RunSummary, history: History, calls: Sequence[dict[str, object]] | None = None) -> str:
    """All but the program itself; `rows` as they were appended, and `calls` where they were asked for."""
    header = history.header
    return as_json(
        {
            **msgspec.structs.asdict(run),
            "message": history.ended.message if history.ended else None,
            "apxm": header.apxm,
            "kind": header.kind,
            "optimization_level": header.optimization_level,
            "program_digest": header.program_digest,
            "inputs": header.inputs,
            "inputs_digest": header.inputs_digest,
            "options": header.options,
            "rows": [_row(number, record) for number, record in _told(history)],
            **({} if calls is None else {"calls": calls}),
        }
    )


def _told(history: History) -> Iterator[tuple[int, TimedRow]]:
    """The rows with their numbers, but for the instants, which `apxm report` shows."""
    return ((n, record) for n, record in enumerate(history.records, 1) if not isinstance(record.row, Traced))


def run_text(run: RunSummary, history: History) -> list[str]:
    """What the run is, and how far it came."""
    header = history.header
    lines = aligned(
        [
            ["run", run.id],
            ["program", f"{header.path} ({_origin(header)})"],
            ["flow", f"{header.flow}({', '.join(map(_short, header.inputs))})"],
            ["options", ", ".join(f"{name} {_short(value)}" for name, value in header.options.items()) or "none"],
            ["started", f"{run.started} by apxm {header.apxm}"],
            ["status", _ended(run, history)],
            ["size", size(run.size_bytes)],
        ],
        indent="",
    )
    lines += _block(f"{count(len(history.results), 'operation')} finished:", map(_result, history.results.values()))
    lines += _block("outcome unknown:", [[s.path, f"key {s.idempotency_key}"] for s in history.unknown.values()])
    lines += _block("printed:", [[shortened(line, _LONGEST)] for _, line in sorted(history.printed.items())])
    discarded = [[d.path, d.backend or "", _tokens(d.usage), shortened(d.message, _LONGEST)] for d in history.discarded]
    lines += _block("answers that were of no use:", discarded)
    spent = [[s.path, f"attempt {s.attempt}", count(s.tokens, "token"), _cost(s.cost)] for s in history.settled]
    lines += _block("spent:", spent)
    held = [[r.path, f"attempt {r.attempt}", count(r.tokens, "token"), _cost(r.cost)] for r in history.unsettled]
    return lines + _block("reserved, and never settled:", held)


def pruned_text(runs: Sequence[KeptRun]) -> list[str]:
    return aligned([[r.run_id, size(r.size_bytes), f"last written {time_text(r.written)}"] for r in runs], indent="")


def pruned_json(runs: Sequence[KeptRun]) -> str:
    return as_json([{"id": r.run_id, "size_bytes": r.size_bytes, "last_written": time_text(r.written)} for r in runs])


def size(number: int) -> str:
    """Bytes as people say them: ``812 bytes``, ``1.4 MiB``."""
    if number < 1024:
        return f"{number} bytes"
    power = min((number.bit_length() - 1) // 10, len(_UNITS))
    return f"{number / 1024**power:,.1f} {_UNITS[power - 1]}"


def _origin(header: Header) -> str:
    return f"{header.kind}, -O{header.optimization_level}, SHA-256 {header.program_digest[:12]}…"


def _ended(run: RunSummary, history: History) -> str:
    message = history.ended.message if history.ended else ""
    return f"{run.status}: {message}" if message else run.status


def _result(result: Answered) -> list[str]:
    return [result.path, result.backend or "", _tokens(result.usage), _gave(result)]


def _gave(result: Answered) -> str:
    from apxm.reports.call_log import answered  # loads all that runs, which a list can do without

    value, calls = answered(result)
    if not calls:
        return _short(value)
    said = [f"calls {call['name']} {_json(call['arguments'])}" for call in calls]
    return shortened(", ".join([_json(value), *said] if value else said), _LONGEST)


def _tokens(usage: Usage) -> str:
    if usage in (UNKNOWN_USAGE, _NO_USAGE):
        return ""
    return f"{_number(usage.input_tokens)} in, {_number(usage.output_tokens)} out"


def _block(title: str, rows: Sequence[list[str]] | map[list[str]]) -> list[str]:
    return ["", title, *aligned(shown)] if (shown := list(rows)) else []


def _row(number: int, record: TimedRow) -> dict[str, object]:
    row = record.row
    fields = msgspec.structs.asdict(row)
    if isinstance(row, Edited):
        del fields["program"]
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return {"row": number, "time": time_text(record.time), "kind": type(row).__struct_config__.tag, **shown}


def time_text(seconds: float) -> str:
    """ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cost(cost: float | None) -> str:
    return "cost unknown" if cost is None else f"cost {cost:.6g}"


def _number(tokens: int | None) -> str:
    return "–" if tokens is None else f"{tokens:,}"


def _short(value: Value) -> str:
    return shortened(_json(value), _LONGEST)


def _json(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)
