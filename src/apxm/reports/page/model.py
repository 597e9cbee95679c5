"""What a page knows of a run: columns of numbers, one row for each operation that waited, and what they add up to."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from apxm.analysis.losses import Losses, losses
from apxm.analysis.metrics import Metrics
from apxm.analysis.work_span import longest_path
from apxm.backends.protocol import BackendInfo
from apxm.operations.types import text_form
from apxm.reports.page.sites import Folded, Sites, without_shortcuts
from apxm.reports.page.texts import Texts
from apxm.reports.summary import stopped_lines
from apxm.runtime.trace import Attempt, Failure, Trace
from apxm.source import as_utf8, shortened

_INSTANTS = ("ready", "asked", "granted", "sent", "received", "routed")
"""In µs. The first one since the beginning of the run, each other one since the one before it."""
_MOST_FAILURES = 100
_LONGEST_VALUE = 100_000
_UNKNOWN = -1


class Reported(Struct, frozen=True, kw_only=True):
    """A run as it is reported."""

    trace: Trace
    metrics: Metrics
    run_id: str
    began: float | None = None
    """Unix time."""
    texts: Texts | None = None
    """What its calls asked and were answered; None where that is not known, or not to be shown."""
    notes: tuple[str, ...] = ()
    """What is to be known of the report itself."""
    goes_on: bool = False
    """Whether it is not over."""
    breaks: tuple[tuple[float, str], ...] = ()
    """Where another process goes on, in ms since the beginning, and after what."""
    is_whole: bool = True
    """Whether it has the instants of all calls; without them nobody can say where its time went."""
    redacts: bool = False
    """Whether nothing is shown that the program or a model has said."""


class Operations:
    """The columns."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._paths: list[str] = []
        self._site = array("i")
        self._instants = {name: array("q") for name in _INSTANTS}
        self._first: dict[int, int] = {}
        self._words: dict[str, int] = {}
        self._outcome = array("i")
        self._backend = array("i")
        self._numbers = {name: array("q") for name in ("service", "input", "output")}
        self._earlier: dict[int, list[list[int]]] = {}
        self.critical: list[int] = []

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, trace: Trace, origin: int, label: str = "") -> Folded:
        """Adds those of a run; `origin` is the instant from which the page counts, `label` stands before the paths."""
        folded = self._sites.add(trace)
        numbers: dict[tuple[int, int], int] = {}
        for record in trace.operations:
            if not record.attempts:
                continue
            number = numbers[record.frame, record.node] = len(self._paths)
            self._paths.append(as_utf8(label + trace.path_of(record.frame, record.node)))
            self._site.append(folded.site(record.frame, record.node))
            *earlier, last = record.attempts
            if earlier:
                self._earlier[number] = [self._flat(attempt, origin) for attempt in earlier]
            if last.first is not None:
                self._first[number] = (last.first - origin) // 1000
            self._backend.append(self._word(record.backend))
            self._outcome.append(self._word(last.outcome))
            self._add_instants(record.ready, last, record.routed, origin)
            service = _UNKNOWN if last.service_ns is None else last.service_ns // 1000
            for name, value in (
                ("service", service), ("input", last.usage.input_tokens), ("output", last.usage.output_tokens),
            ):  # fmt: skip
                self._numbers[name].append(_UNKNOWN if value is None else value)
        path = longest_path(trace).steps
        self.critical += [numbers[step.frame, step.node] for step in path if (step.frame, step.node) in numbers]
        return folded

    def _add_instants(self, ready: int, last: Attempt, routed: int, origin: int) -> None:
        before = 0
        instants = (ready, last.asked, last.granted, last.sent, last.received, routed)
        for name, instant in zip(_INSTANTS, instants, strict=True):
            now = max(before, (instant - origin) // 1000)
            self._instants[name].append(now - before)
            before = now

    def _flat(self, attempt: Attempt, origin: int) -> list[int]:
        instants = (attempt.asked, attempt.granted, attempt.sent, attempt.received)
        usage = attempt.usage
        return [
            *((instant - origin) // 1000 for instant in instants),
            self._word(attempt.outcome),
            _UNKNOWN if usage.input_tokens is None else usage.input_tokens,
            _UNKNOWN if usage.output_tokens is None else usage.output_tokens,
        ]

    def _word(self, word: str) -> int:
        return self._words.setdefault(as_utf8(word), len(self._words))

    def columns(self, places: Mapping[str, list[int]]) -> dict[str, Any]:
        """All of them; `places` are those of the texts, by path."""
        return {
            "path": self._paths,
            "site": self._site.tolist(),
            **{name: column.tolist() for name, column in (self._instants | self._numbers).items()},
            "outcome": self._outcome.tolist(),
            "backend": self._backend.tolist(),
            "words": list(self._words),
            "first": self._first,
            "earlier": self._earlier,
            "critical": self.critical,
            "texts": [places.get(path, []) for path in self._paths],
        }


def run_model(reported: Reported, advice: dict[str, Any] | None = None) -> dict[str, Any]:
    """All that a page shows of one run, but for the texts themselves."""
    trace, metrics = reported.trace, reported.metrics
    sites = Sites()
    operations = Operations(sites)
    operations.add(trace, trace.started)
    redacts = reported.redacts
    return {
        "id": reported.run_id,
        "name": as_utf8(trace.flow.qualified_name.lstrip(".")),
        "began": reported.began,
        "kind": _kind(trace),
        "status": "running" if reported.goes_on else metrics.execution.status,
        "said": stopped_lines(trace),
        "failures": _failures(trace.failures, redacts),
        "caught": _failures(trace.caught, redacts),
        "value": None if redacts or trace.value is None else shortened(as_utf8(_value(trace)), _LONGEST_VALUE),
        "redacts": redacts,
        "notes": [*reported.notes, *text_notes(reported.texts)],
        "figures": _figures(trace, metrics),
        "backends": [backend_entry(metrics.backend)],
        "losses": _losses(losses(trace)) if reported.is_whole else None,
        "advice": advice,
        "breaks": reported.breaks,
        "sites": sites.sites,
        "edges": without_shortcuts(sites.edges()),
        "operations": operations.columns({} if reported.texts is None else reported.texts.places),
    }


def _kind(trace: Trace) -> str:
    origin = trace.program.origin
    return "source" if origin is None else origin[1]


def _value(trace: Trace) -> str:
    value = trace.value
    try:
        return value if isinstance(value, str) else text_form(value)
    except Exception:  # of a class of the user's, or too large
        return f"a value of type {type(value).__name__}"


def _failures(failures: Sequence[Failure], redacts: bool) -> list[dict[str, str]]:
    """A message may quote an answer."""
    return [
        {
            "path": as_utf8(each.operation),
            "where": as_utf8(each.where),
            "kind": each.kind,
            "message": "" if redacts else as_utf8(each.message),
        }
        for each in failures[:_MOST_FAILURES]
    ]


def text_notes(texts: Texts | None) -> list[str]:
    """What is to be known of texts that are left out."""
    if texts is None or not texts.left_out:
        return []
    return [f"The texts of {texts.left_out:,} attempts are left out: there are too many for one page."]


def _figures(trace: Trace, metrics: Metrics) -> dict[str, Any]:
    """The numbers of docs/metrics.md, times in ms."""
    run, times, calls = metrics.execution, metrics.work_span, metrics.llm
    retries = sum(len(record.attempts) - 1 for record in trace.operations if record.attempts)
    return {
        "duration": run.duration_ms, "t1": times.t1_ms, "t_inf": times.t_inf_ms,
        "parallelism": times.parallelism, "speedup": times.speedup, "most": metrics.scheduler.max_parallelism,
        "mean": metrics.scheduler.avg_parallelism, "executed": run.nodes_executed, "failed": run.nodes_failed,
        "caught": run.failures_caught, "reused": run.nodes_reused, "skipped": trace.skipped,
        "calls": calls.total_requests, "repairs": calls.repairs, "retries": retries,
        "input": calls.total_input_tokens, "output": calls.total_output_tokens, "cost": trace.cost,
        "p50": calls.p50_latency_ms, "p95": calls.p95_latency_ms, "longest": calls.max_latency_ms,
        "overhead": metrics.scheduler.per_op_overhead_us,
    }  # fmt: skip


def backend_entry(info: BackendInfo) -> dict[str, Any]:
    """What is told of a backend."""
    return {
        "name": as_utf8(info.name), "kind": info.kind, "model": as_utf8(info.model),
        "endpoint": info.endpoint, "simulated": info.simulated,
    }  # fmt: skip


def _losses(found: Losses) -> dict[str, Any]:
    return {
        "terms": found.terms,
        "calibrated": found.calibrated,
        "transport_included": found.transport_included,
        "classes_of_one": found.classes_of_one[:20],
    }
