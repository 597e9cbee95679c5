"""The few lines that end a run on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apxm.source import printable, printable_lines

if TYPE_CHECKING:
    from apxm.analysis.metrics import Metrics
    from apxm.runtime.trace import Trace


def duration(ms: float) -> str:
    """A duration with as many digits as tell something: ``2 d 03 h``, ``1.24 s``, ``12.5 ms``, ``0.08 ms``."""
    if ms >= 60_000:
        minutes, seconds = divmod(round(ms / 1000), 60)
        hours, minutes = divmod(minutes, 60)
        if hours >= 24:
            return f"{hours // 24:,} d {hours % 24:02d} h"
        return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
    if ms >= 1000:
        return f"{ms / 1000:.2f} s"
    return f"{ms:.1f} ms" if ms >= 1 else f"{ms:.2f} ms"


def summary_line(metrics: Metrics) -> str:
    """``succeeded: 3 operations, 2 LLM calls in 1.00 s (T1 2.00 s, T_inf 1.00 s, speedup 2.00x)``"""
    run = metrics.execution
    caught = f", {count(run.failures_caught, 'failure')} caught" if run.failures_caught else ""
    numbers = {"failed": run.nodes_failed, "from the journal": run.nodes_reused}
    of_them = ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)
    repairs = f" ({count(metrics.llm.repairs, 'repair')})" if metrics.llm.repairs else ""
    line = (
        f"{run.status}: {count(run.nodes_executed, 'operation')}{f' ({of_them})' if of_them else ''}{caught}, "
        f"{count(metrics.llm.total_requests, 'LLM call')}{repairs} in {duration(run.duration_ms)}"
    )
    if metrics.llm.total_requests:
        times = metrics.work_span
        line += f" (T1 {duration(times.t1_ms)}, T_inf {duration(times.t_inf_ms)}, speedup {times.speedup:.2f}x)"
    if run.stopped is not None and run.stopped.kind == "interrupted" and run.stopped.pending:
        line += printable(f"; {run.stopped.pending_text}")  # of another end, `stopped_lines` tells
    return line


def failure_lines(trace: Trace) -> list[str]:
    """What is said of each operation that failed, and a line for those that never started because of them."""
    lines = [printable_lines(f"{f.where}: {f.operation} failed ({f.kind}): {f.message}") for f in trace.failures]
    if trace.failures and trace.skipped:
        lines.append(f"{count(trace.skipped, 'operation')} that needed a result of these did not run")
    return lines


def call_failure_lines(trace: Trace) -> list[str]:
    """What is said of a failed call in a program of our own, whose places and names nobody knows."""
    return [printable_lines(f"failed ({f.kind}): {f.message}") for f in trace.failures]


def stopped_lines(trace: Trace) -> list[str]:
    """Which limit ended a run, and an endpoint that cost more than it was allowed to; for standard error."""
    lines: list[str] = []
    if trace.stopped is not None and trace.stopped.kind != "interrupted":
        lines.append(printable(trace.stopped.message))
    if trace.budget is not None and trace.budget.above.tokens:
        above = f"{trace.budget.above.tokens:,} tokens above what was reserved for them"
        lines.append(f"answers cost {above}: an endpoint does not honour max_tokens")
    return lines


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
