"""A comparison as Markdown tables: the seed's four, what was predicted, and where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log10

from msgspec.structs import astuple

from apxm.analysis.losses import TERMS
from apxm.reports.summary import count
from apxm.reports.tables import markdown
from apxm.workloads.comparison import ApxmMeasurement, ComparisonResults, Guesses, SystemMeasurement


def comparison_text(comparison: ComparisonResults, guesses: Guesses) -> str:
    sections = [
        _section("Measured values", _measured(comparison)),
        _section("Speedup analysis", _speedup(comparison)),
    ]
    if apxm := _apxm(comparison):
        sections.append(_section("Scheduler overhead of A-PXM, per operation", _overhead(apxm)))
    if len(comparison.results) > 1:
        smallest = comparison.results[0].n
        sections.append(_section(f"Latency against N = {smallest}", _latency(comparison)))
    if apxm:
        sections.append(_section("Predicted against measured, A-PXM", _predicted(apxm, guesses)))
        sections.append(_section("Where the time went, A-PXM (ms)", _losses(apxm)))
    return "\n".join([*sections, *_notes(comparison)])


def _rows(comparison: ComparisonResults) -> Iterator[tuple[int, str, SystemMeasurement]]:
    """All results by width, then by system: what is to be compared stands together."""
    for result in comparison.results:
        for name, measured in result.systems.items():
            yield result.n, name, measured


def _apxm(comparison: ComparisonResults) -> list[tuple[int, ApxmMeasurement]]:
    return [(result.n, result.apxm) for result in comparison.results if result.apxm is not None]


# --- the seed's tables ---------------------------------------------------------------------------------------------


def _measured(comparison: ComparisonResults) -> list[str]:
    return markdown(
        ("N", "System", "Duration (ms)", "95% interval", "LLM Calls", "Avg Latency", "Max Parallelism"),
        [
            (
                str(n),
                system,
                _ms(m.duration_ms),
                "–".join(map(_ms, m.duration_ci95_ms)) if len(m.samples_ms) > 1 else "one run",
                str(m.llm_calls),
                f"{_ms(m.avg_latency_ms)}ms",
                str(m.max_parallelism),
            )
            for n, system, m in _rows(comparison)
        ],
    )


def _speedup(comparison: ComparisonResults) -> list[str]:
    return markdown(
        (
            "N", "System", "T_1 (Sequential Est.)", "T_measured", "Speedup (Est.)", "Theoretical", "Efficiency (Est.)",
            "T_1 (Isolated)", "Speedup", "Efficiency",
        ),
        [
            (
                str(n),
                system,
                f"{_ms(m.t1_estimated_ms)}ms",
                f"{_ms(m.duration_ms)}ms",
                f"{m.speedup_estimated:.2f}x",
                f"{m.theoretical_speedup:g}x",
                f"{m.efficiency_estimated:.1%}",
                f"{_ms(m.t1_isolated_ms)}ms",
                f"{m.speedup:.2f}x",
                f"{m.efficiency:.1%}",
            )
            for n, system, m in _rows(comparison)
        ],
    )  # fmt: skip


def _overhead(apxm: Sequence[tuple[int, ApxmMeasurement]]) -> list[str]:
    return markdown(
        ("N", "Input Collection", "Dispatch", "Token Routing", "Total Overhead", "Processor Time"),
        [
            (
                str(n),
                *(f"{us:.2f}µs" for us in astuple(m.overhead_us)),
                "–" if m.processor_us is None else f"{m.processor_us:,.0f}µs",
            )
            for n, m in apxm
        ],
    )


def _latency(comparison: ComparisonResults) -> list[str]:
    systems = comparison.systems
    first = comparison.results[0].n
    rows: list[list[str]] = []
    for i, result in enumerate(comparison.results):
        row = [str(result.n)]
        for measured in systems.values():
            latency, baseline = measured[i][1].avg_latency_ms, measured[0][1].avg_latency_ms
            row += [f"{_ms(latency)}ms", "baseline" if i == 0 else _signed(latency / baseline - 1, digits=0)]
        rows.append(row)
    headers = [header for name in systems for header in (f"Avg Latency, {name}", f"Increase from N={first}")]
    return markdown(("N", *headers), rows)


# --- beyond the seed -----------------------------------------------------------------------------------------------


def _predicted(apxm: Sequence[tuple[int, ApxmMeasurement]], guesses: Guesses) -> list[str]:
    rows: list[list[str]] = []
    for n, m in apxm:
        others = (by_width.get(n) for by_width in guesses.values())
        errors = [_error(guess, m.duration_ms) for guess in others]
        rows.append([str(n), _ms(m.predicted_ms), _ms(m.duration_ms), _signed(m.prediction_error), *errors])
    headers = ("N", "Predicted (ms)", "Measured (ms)", "Error", *(f"Error of: {name}" for name in guesses))
    return markdown(headers, rows)


def _losses(apxm: Sequence[tuple[int, ApxmMeasurement]]) -> list[str]:
    rows = [[str(n), *map(_ms, m.losses_ms.terms.values()), _ms(m.duration_ms)] for n, m in apxm]
    return markdown(("N", *TERMS, "= Duration"), rows)


def _notes(comparison: ComparisonResults) -> list[str]:
    runs = f"{comparison.iterations} run{'s' if comparison.iterations != 1 else ''}"
    notes = [
        f"Endpoint: {comparison.endpoint}. Means of {runs} each.",
        "T_1 (Sequential Est.) is N times the mean latency under load, which hides whatever slows every call.",
        "T_1 (Isolated) is measured with one call at a time on the same endpoint, and is the same for both systems.",
        "Max Parallelism is N: calls in flight at once. The merge never waits (the seed counts it, hence its N+1).",
    ]
    if found := comparison.calibration:
        known = "" if found.error is None else f", whose means are known to ±{found.error:.1%}"
        ended = "" if found.in_time else "; there was no time for more"
        notes.append(
            f"Predictions rest on {count(found.calls, 'call')} in {found.seconds:.1f} s beforehand{known}{ended}."
        )
    if comparison.failed_runs:
        are = "is" if comparison.failed_runs == 1 else "are"
        notes.append(f"{count(comparison.failed_runs, 'run')} failed, and {are} left out.")
    if apxm := _apxm(comparison):
        if all(m.losses_ms.transport == 0 for _, m in apxm):
            notes.append("The endpoint does not say how long it worked: transport is part of the other terms.")
        _, widest = apxm[-1]
        if widest.overhead_us.total > 0:
            orders = log10(widest.avg_latency_ms * 1000 / widest.overhead_us.total)
            notes.append(f"The scheduler's overhead is {orders:.1f} orders of magnitude below the average latency.")
    return ["", *notes]


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"### {title}", "", *lines, ""])


def _ms(value: float) -> str:
    """`5,818`; with the digits that tell something where it is small."""
    if abs(value) < 0.005:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _signed(fraction: float, digits: int = 1) -> str:
    """`+2.0%`; what rounds to nothing has no sign of its own."""
    return f"{round(fraction, digits + 2) + 0.0:+.{digits}%}"


def _error(guess: float | None, measured: float) -> str:
    return "–" if guess is None else _signed(guess / measured - 1)
