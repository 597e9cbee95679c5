"""Comparisons made up for the tests of what is printed and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apxm.analysis.losses import Losses
from apxm.workloads.comparison import (
    ApxmMeasurement,
    CalibrationEffort,
    ComparisonResults,
    OverheadMedians,
    SystemMeasurement,
    Width,
)


def comparison(widths: Sequence[int] = (1, 2, 8), *, apxm: bool = True, langgraph: bool = True) -> ComparisonResults:
    """Calls of one second that slow each other down; LangGraph adds 100 ms."""
    return ComparisonResults(
        workload="4_scalability",
        endpoint="simulated, latency constant:1000, slowdown usl:0.1,0",
        seed=0,
        iterations=2,
        versions={"apxm": "0.1.0"},
        calibration=CalibrationEffort(seconds=11.75, calls=8, error=0.0512, in_time=False) if apxm else None,
        results=tuple(
            Width(n=n, apxm=_apxm(n) if apxm else None, langgraph=_langgraph(n) if langgraph else None) for n in widths
        ),
    )


def _apxm(n: int) -> ApxmMeasurement:
    latency = 1000 + 100 * (n - 1)
    duration = latency + 5
    return ApxmMeasurement(
        **_fields(n, duration, latency),
        overhead_us=OverheadMedians(input_collection=0.5, dispatch=3.25, token_routing=1, total=4.75),
        processor_us=180.4,
        predicted_ms=duration * 1.02,
        prediction_error=0.02,
        losses_ms=Losses(
            isolated=1000, contention=latency - 1000, variation=-2.5, transport=3.5, retries=0, waiting=0, runtime=4
        ),
    )


def _langgraph(n: int) -> SystemMeasurement:
    latency = 1050 + 100 * (n - 1)
    return SystemMeasurement(**_fields(n, latency + 55, latency))


def _fields(n: int, duration: float, latency: float) -> dict[str, Any]:
    return {
        "duration_ms": duration,
        "duration_ci95_ms": (duration - 2, duration + 2),
        "samples_ms": (duration - 2, duration + 2),
        "llm_calls": n,
        "avg_latency_ms": latency,
        "max_parallelism": n,
        "t1_estimated_ms": n * latency,
        "t1_isolated_ms": n * 1000.0,
        "speedup_estimated": n * latency / duration,
        "efficiency_estimated": latency / duration,
        "speedup": n * 1000 / duration,
        "theoretical_speedup": float(n),
        "efficiency": 1000 / duration,
    }
