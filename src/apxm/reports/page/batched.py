"""All runs of a batch on one page: each place of the program once, whatever input it was made for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter_ns, time
from typing import Any

from msgspec import Struct

from apxm.advice.graph import Measuring
from apxm.analysis.work_span import latency, work
from apxm.backends.protocol import BackendInfo
from apxm.errors import ApxmError
from apxm.reports.page.advised import MOST_OPERATIONS, of_measured
from apxm.reports.page.model import Operations, backend_entry, text_notes
from apxm.reports.page.page import page
from apxm.reports.page.sites import Sites, without_shortcuts
from apxm.reports.page.sources import sources_of
from apxm.reports.page.texts import CallTexts, Texts
from apxm.runtime.observing import CallObserver
from apxm.runtime.trace import Status, Trace
from apxm.source import as_utf8, shortened
from apxm.version import VERSION

MOST_INPUTS = 1000
_LONGEST_MESSAGE = 200


class _Input(Struct, array_like=True):
    """One input; times in ms since the batch began."""

    id: str
    status: str
    began: float
    ended: float
    calls: int
    tokens: int | None
    error: str


class BatchPage:
    """Takes the runs of a batch as they end, and needs none of them any more then."""

    def __init__(self, name: str, *, redacts: bool) -> None:
        self._name = name
        self._redacts = redacts
        self._texts = None if redacts else Texts()
        self._sites = Sites()
        self._operations = Operations(self._sites)
        self._inputs: list[_Input] = []
        self._sources: list[tuple[str, str]] | None = None
        self._began, self._origin = time(), perf_counter_ns()
        self._work = self._span = self._executed = self._failed = self._skipped = self._retries = 0
        self._cost: float | None = 0.0
        self._measuring: Measuring | None = Measuring()

    def observer(self, id: str) -> CallObserver | None:
        """Who is to be told of the calls of the run for an input."""
        return None if self._texts is None else CallTexts(self._texts, f"{id}/")

    def ended(self, id: str, trace: Trace) -> None:
        """The run for an input is over."""
        if self._sources is None:
            self._sources = sources_of(trace)
        critical = self._operations.critical
        self._operations.critical = []
        self._operations.add(trace, self._origin, f"{id}/")
        span = sum(map(latency, _on_path(trace, self._operations.critical, len(self._operations))))
        if span <= self._span:
            self._operations.critical = critical  # that of the longest input is shown
        self._span = max(self._span, span)
        self._work += work(trace)
        self._measure(trace)
        self._executed += trace.executed
        self._failed += trace.failed
        self._skipped += trace.skipped
        self._retries += sum(len(record.attempts) - 1 for record in trace.operations if record.attempts)
        self._cost = None if self._cost is None or trace.cost is None else self._cost + trace.cost
        used = [record.attempts[-1].usage.total for record in trace.operations if record.succeeded]
        tokens = None if any(each is None for each in used) else sum(each or 0 for each in used)
        error = "" if trace.status is Status.SUCCEEDED else _error(trace, redacts=self._redacts)
        began, over = (trace.started - self._origin) / 1e6, (trace.ended - self._origin) / 1e6
        self._inputs.append(_Input(as_utf8(id), trace.status.value, began, over, trace.attempts, tokens, error))

    def _measure(self, trace: Trace) -> None:
        """Keeps what is needed to run it again, as long as the batch is small enough for that."""
        if self._measuring is not None:
            try:
                self._measuring.add_input(trace, self._origin)
            except ApxmError:
                self._measuring = None
            else:
                self._measuring = self._measuring if len(self._measuring) <= MOST_OPERATIONS else None

    def made(self, batch_id: str, status: str, backends: Sequence[BackendInfo], at_once: int | None = None) -> bytes:
        """The page; `at_once` is how many inputs were open at most."""
        columns = self._operations.columns({} if self._texts is None else self._texts.places)
        duration = perf_counter_ns() - self._origin
        pieces = [] if self._texts is None else self._texts.pieces()
        run = {
            "id": batch_id,
            "name": as_utf8(self._name),
            "began": self._began,
            "kind": "batch",
            "status": status,
            "said": [],
            "failures": [],
            "caught": [],
            "value": None,
            "redacts": self._redacts,
            "notes": [*self._notes(), *text_notes(self._texts)],
            "figures": self._figures(columns, duration),
            "backends": [backend_entry(info) for info in backends],
            "losses": None,
            "advice": self._advice(duration, status, at_once),
            "breaks": [],
            "sites": self._sites.sites,
            "edges": without_shortcuts(self._sites.edges()),
            "operations": columns,
        }
        shown = sorted(self._inputs, key=lambda each: (not each.error, each.began - each.ended))[:MOST_INPUTS]
        sources = [] if self._redacts else self._sources or []
        model = {"version": VERSION, "runs": [run], "inputs": shown, "sources": sources}
        return page(f"{self._name} {batch_id}", model, [pieces])

    def _advice(self, duration: int, status: str, at_once: int | None) -> dict[str, Any] | None:
        if self._measuring is None:
            return None
        return of_measured(self._measuring.made(duration, status, cost=self._cost, inputs_at_once=at_once))

    def _notes(self) -> list[str]:
        left = len(self._inputs) - MOST_INPUTS
        return [] if left <= 0 else [f"{left:,} inputs that succeeded, and were quick, are not listed one by one."]

    def _figures(self, columns: dict[str, Any], duration: int) -> dict[str, Any]:
        latencies = sorted(each / 1e3 for each in columns["received"])

        def percentile(percent: int) -> float:
            return latencies[-(-len(latencies) * percent // 100) - 1] if latencies else 0.0

        tokens = [None if -1 in columns[name] else sum(columns[name]) for name in ("input", "output")]
        return {
            "duration": duration / 1e6, "t1": self._work / 1e6, "t_inf": self._span / 1e6,
            "parallelism": self._work / self._span if self._span else 1.0,
            "speedup": self._work / duration, "most": _most_at_once(columns), "mean": self._work / duration,
            "executed": self._executed, "failed": self._failed, "caught": 0, "reused": 0, "skipped": self._skipped,
            "calls": len(latencies) + self._retries, "repairs": 0, "retries": self._retries,
            "input": tokens[0], "output": tokens[1], "cost": self._cost,
            "p50": percentile(50), "p95": percentile(95), "longest": percentile(100), "overhead": 0.0,
        }  # fmt: skip


def _on_path(trace: Trace, critical: list[int], total: int) -> Iterable[Any]:
    """The records of a critical path; `critical` are numbers of the last operations of `total`."""
    records = [record for record in trace.operations if record.attempts]
    first = total - len(records)
    return (records[number - first] for number in critical)


def _error(trace: Trace, *, redacts: bool) -> str:
    if trace.failures:
        first = trace.failures[0]
        return first.kind if redacts else shortened(as_utf8(f"{first.kind}: {first.message}"), _LONGEST_MESSAGE)
    return trace.stopped.kind if trace.stopped is not None else trace.status.value


def _most_at_once(columns: dict[str, Any]) -> int:
    changes: list[tuple[int, int]] = []
    for number, ready in enumerate(columns["ready"]):
        sent = ready + columns["asked"][number] + columns["granted"][number] + columns["sent"][number]
        changes += [(sent, 1), (sent + columns["received"][number], -1)]
    level = most = 0
    for _, change in sorted(changes):
        level += change
        most = max(most, level)
    return most
