"""The numbers of one run (DESIGN §5), as `--emit-metrics` writes them; docs/metrics.md defines every field."""

from __future__ import annotations

import json

import msgspec
from msgspec import Struct

from apxm.backends.protocol import BackendInfo
from apxm.runtime.stopped import Stopped


class Execution(Struct, frozen=True):
    status: str
    duration_ms: float
    nodes_executed: int
    nodes_reused: int
    """How many of the executed nodes have an answer that an earlier process had journaled."""
    nodes_failed: int
    failures_caught: int
    """How many failures a `try` caught."""
    stopped: Stopped | None = None
    """Why it ended before its end; None where it did not."""


class OverheadBreakdown(Struct, frozen=True):
    """Medians, in microseconds per operation."""

    input_collection_us: float
    dispatch_us: float
    token_routing_us: float


class SchedulerMetrics(Struct, frozen=True):
    per_op_overhead_us: float
    overhead_breakdown: OverheadBreakdown
    processor_us_per_op: float
    """Processor time of the whole process, event loop, client library and handlers included."""
    max_parallelism: int
    avg_parallelism: float
    operations_executed: int
    operations_failed: int


class LlmMetrics(Struct, frozen=True):
    """Over the attempts that were answered; a token count is None where an endpoint did not report it."""

    total_requests: int
    repairs: int
    """How many of them asked again because an answer did not fit."""
    total_input_tokens: int | None
    total_output_tokens: int | None
    avg_latency_ms: float
    p50_latency_ms: float
    p95_latency_ms: float
    p99_latency_ms: float
    max_latency_ms: float
    streamed_requests: int
    """Those whose answers came in parts; the instants of their first parts are below, None where there is none."""
    p50_first_token_ms: float | None
    p95_first_token_ms: float | None
    max_first_token_ms: float | None


class LinkPhases(Struct, frozen=True):
    """What came before and beside the run itself; 0 where a phase did not happen."""

    compile_ms: float = 0.0
    artifact_ms: float = 0.0
    validation_ms: float = 0.0
    runtime_ms: float = 0.0


class PathStep(Struct, frozen=True):
    operation: str
    path: str
    where: str
    duration_ms: float


class WorkSpan(Struct, frozen=True):
    t1_ms: float
    t_inf_ms: float
    parallelism: float
    speedup: float
    critical_path: tuple[PathStep, ...]

    def __repr__(self) -> str:
        return f"WorkSpan(t1_ms={self.t1_ms}, t_inf_ms={self.t_inf_ms}, speedup={self.speedup}, …)"


class BudgetUsed(Struct, frozen=True):
    """What a run with a budget cost, over all processes that carried it."""

    max_total_tokens: int | None
    max_cost: float | None
    spent_tokens: int
    spent_cost: float | None
    """The cost so far; None where money is not limited."""
    assumed_tokens: int
    """The part of `spent_tokens` that was charged for attempts whose outcome nobody knows."""


class Metrics(Struct, frozen=True):
    execution: Execution
    scheduler: SchedulerMetrics
    llm: LlmMetrics
    link_phases: LinkPhases
    work_span: WorkSpan
    backend: BackendInfo
    budget: BudgetUsed | None = None
    """What the run used of its budget; None where it has none."""

    def to_json(self, **more: str | None) -> str:
        """What ``--emit-metrics`` writes, byte for byte: an object, indented, and a line end; with its `trace`, where
        that is given as one `more` field."""
        text = json.dumps({**msgspec.to_builtins(self), **more}, ensure_ascii=False, indent=2)
        # A lone surrogate, which UTF-8 cannot hold, becomes the JSON escape for it.
        return f"{text}\n".encode(errors="backslashreplace").decode()

    def __repr__(self) -> str:
        run = self.execution
        return (
            f"Metrics({run.status}, duration_ms={run.duration_ms}, nodes_executed={run.nodes_executed}, "
            f"total_requests={self.llm.total_requests}, …)"
        )
