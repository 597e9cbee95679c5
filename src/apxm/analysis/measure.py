"""Makes of a trace the numbers that `--emit-metrics` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, median

from apxm.analysis.metrics import (
    BudgetUsed,
    Execution,
    LinkPhases,
    LlmMetrics,
    Metrics,
    OverheadBreakdown,
    PathStep,
    SchedulerMetrics,
    WorkSpan,
)
from apxm.analysis.usage import model_calls
from apxm.analysis.work_span import Path, longest_path, work
from apxm.backends.protocol import BackendInfo
from apxm.operations.answers import UNFIT
from apxm.runtime.budget import Budget, as_amount
from apxm.runtime.trace import Overhead, Trace


def measure(trace: Trace, link_phases: LinkPhases, backend: BackendInfo) -> Metrics:
    """The metrics of a run that is over; docs/metrics.md defines each."""
    duration = trace.duration
    t1 = work(trace)
    return Metrics(
        execution=Execution(
            status=trace.status.value,
            stopped=trace.stopped,
            duration_ms=_ms(duration),
            nodes_executed=trace.executed,
            nodes_reused=trace.reused,
            nodes_failed=trace.failed,
            failures_caught=len(trace.caught),
        ),
        scheduler=_scheduler(trace, t1),
        llm=_llm(trace),
        link_phases=link_phases,
        work_span=_work_span(trace, t1),
        backend=backend,
        budget=None if trace.budget is None else _budget(trace.budget),
    )


def _budget(budget: Budget) -> BudgetUsed:
    money = budget.max_money is not None
    return BudgetUsed(
        max_total_tokens=budget.max_tokens,
        max_cost=as_amount(budget.max_money) if budget.max_money is not None else None,
        spent_tokens=budget.spent.tokens,
        spent_cost=as_amount(budget.spent.money) if money else None,
        assumed_tokens=budget.charged.tokens,
    )


def _scheduler(trace: Trace, t1: int) -> SchedulerMetrics:
    breakdown = overhead_breakdown(trace.overhead)
    total = breakdown.input_collection_us + breakdown.dispatch_us + breakdown.token_routing_us
    return SchedulerMetrics(
        per_op_overhead_us=round(total, 3),
        overhead_breakdown=breakdown,
        processor_us_per_op=round(trace.processor_ns / trace.executed / 1e3, 3) if trace.executed else 0.0,
        max_parallelism=trace.max_in_flight,
        avg_parallelism=_ratio(t1, trace.duration, 0.0),
        operations_executed=trace.executed,
        operations_failed=trace.failed,
    )


def overhead_breakdown(overhead: Overhead) -> OverheadBreakdown:
    """The medians of its samples, in µs; 0 where there are none."""

    def median_us(samples: Sequence[int]) -> float:
        return round(median(samples) / 1e3, 3) if samples else 0.0

    return OverheadBreakdown(
        input_collection_us=median_us(overhead.input_collection),
        dispatch_us=median_us(overhead.dispatch),
        token_routing_us=median_us(overhead.token_routing),
    )


def _llm(trace: Trace) -> LlmMetrics:
    attempts = [attempt for record in model_calls(trace) for attempt in record.attempts]
    answered = [attempt for attempt in attempts if attempt.answered]
    latencies = sorted(attempt.latency for attempt in answered)
    first = sorted(attempt.first - attempt.sent for attempt in answered if attempt.first is not None)
    return LlmMetrics(
        total_requests=len(attempts),
        repairs=sum(attempt.outcome == UNFIT for record in trace.operations for attempt in record.attempts[:-1]),
        total_input_tokens=_total([attempt.usage.input_tokens for attempt in answered]),
        total_output_tokens=_total([attempt.usage.output_tokens for attempt in answered]),
        avg_latency_ms=_ms(fmean(latencies)) if latencies else 0.0,
        p50_latency_ms=_percentile(latencies, 50),
        p95_latency_ms=_percentile(latencies, 95),
        p99_latency_ms=_percentile(latencies, 99),
        max_latency_ms=_percentile(latencies, 100),
        streamed_requests=len(first),
        p50_first_token_ms=_percentile(first, 50) if first else None,
        p95_first_token_ms=_percentile(first, 95) if first else None,
        max_first_token_ms=_percentile(first, 100) if first else None,
    )


def _total(counts: list[int | None]) -> int | None:
    """The sum of counts; None where one of them is unknown, since a part is not the whole."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _percentile(ordered: list[int], percent: int) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank), in ms."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return _ms(ordered[rank - 1])


def _work_span(trace: Trace, t1: int) -> WorkSpan:
    path = longest_path(trace)
    return WorkSpan(
        t1_ms=_ms(t1),
        t_inf_ms=_ms(path.length),
        parallelism=_ratio(t1, path.length, 1.0),
        speedup=_ratio(t1, trace.duration, 1.0),
        critical_path=path_steps(trace, path, _ms),
    )


def path_steps(trace: Trace, path: Path, ms: Callable[[int], float]) -> tuple[PathStep, ...]:
    """The operations of a path as people know them, with their durations as `ms` writes them."""
    return tuple(
        PathStep(
            operation=trace.operation_of(step.frame, step.node),
            path=trace.path_of(step.frame, step.node),
            where=trace.place_of(step.frame, step.node),
            duration_ms=ms(step.duration),
        )
        for step in path.steps
    )


def _ms(ns: float) -> float:
    return round(ns / 1e6, 3)


def _ratio(dividend: int, divisor: int, otherwise: float) -> float:
    return round(dividend / divisor, 4) if divisor else otherwise
