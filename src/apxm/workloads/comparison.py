"""What `apxm workloads run --json` prints; docs/workloads.md defines every field."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from apxm.analysis.losses import Losses

APXM, LANGGRAPH = "A-PXM", "LangGraph"

Guesses = Mapping[str, Mapping[int, float]]
"""What simpler models than ours predict: by their name and by width, in ms."""


class OverheadMedians(Struct, frozen=True, kw_only=True):
    """The scheduler's own time per operation, in µs: medians of a run's operations, then of the runs."""

    input_collection: float
    dispatch: float
    token_routing: float
    total: float


class SystemMeasurement(Struct, frozen=True, kw_only=True):
    """One system at one width. Means over the runs, but the samples, and the maximum."""

    duration_ms: float
    duration_ci95_ms: tuple[float, float]
    samples_ms: tuple[float, ...]
    llm_calls: int
    """Per run."""
    avg_latency_ms: float
    max_parallelism: int
    t1_estimated_ms: float
    t1_isolated_ms: float
    speedup_estimated: float
    efficiency_estimated: float
    speedup: float
    theoretical_speedup: float
    efficiency: float


class ApxmMeasurement(SystemMeasurement, frozen=True, kw_only=True):
    overhead_us: OverheadMedians
    predicted_ms: float
    prediction_error: float
    """(predicted − measured) / measured."""
    losses_ms: Losses
    processor_us: float | None = None
    """Processor time of the whole process per operation: event loop, client library and handlers included, of which
    the clocks of `overhead_us` see nothing. None in results from before it was measured."""


class CalibrationEffort(Struct, frozen=True, kw_only=True):
    """What the calibration took from which A-PXM's runs were predicted."""

    seconds: float
    calls: int
    error: float | None
    """Two standard errors of the least certain of its means, as a part of that; None where that is not known."""
    in_time: bool
    """Whether nothing of it ended with its time, which had not been precise by then."""


class Width(Struct, frozen=True, kw_only=True):
    n: int
    apxm: ApxmMeasurement | None
    langgraph: SystemMeasurement | None

    @property
    def systems(self) -> dict[str, SystemMeasurement]:
        """The systems that were measured at this width, by name."""
        both = {APXM: self.apxm, LANGGRAPH: self.langgraph}
        return {name: measured for name, measured in both.items() if measured is not None}


class ComparisonResults(Struct, frozen=True, kw_only=True):
    workload: str
    endpoint: str
    """What answered, in words."""
    seed: int | None
    """The seed of a simulated endpoint."""
    iterations: int
    versions: dict[str, str]
    results: tuple[Width, ...]
    calibration: CalibrationEffort | None = None
    """None where A-PXM was not measured."""
    failed_runs: int = 0
    """The failed runs of both systems, warm-ups and isolated ones included: they are left out of everything."""

    @property
    def systems(self) -> dict[str, list[tuple[int, SystemMeasurement]]]:
        """Each system that was measured, by name, with its results by width."""
        found: dict[str, list[tuple[int, SystemMeasurement]]] = {}
        for result in self.results:
            for name, measured in result.systems.items():
                found.setdefault(name, []).append((result.n, measured))
        return found


def comparison_json(comparison: ComparisonResults) -> str:
    return msgspec.json.format(msgspec.json.encode(comparison), indent=2).decode()


def read_comparison(data: bytes | str) -> ComparisonResults:
    """What `comparison_json` wrote. Raises `msgspec.ValidationError` for anything else."""
    return msgspec.json.decode(data, type=ComparisonResults)
