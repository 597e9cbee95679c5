"""Turns samples into the numbers of a comparison; docs/workloads.md defines each."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from msgspec import convert
from msgspec.structs import asdict

from apxm.analysis.bootstrap import mean_interval
from apxm.analysis.losses import TERMS, Losses
from apxm.runtime.trace import Overhead
from apxm.workloads.comparison import ApxmMeasurement, OverheadMedians, SystemMeasurement
from apxm.workloads.systems import Sample, most_in_flight


def isolated_t1(latencies: Sequence[float], width: int) -> float:
    """T1 of one width with one call at a time: the sum of its own calls' latencies, or, where fewer were measured, as
    many times their mean."""
    return sum(latencies[:width]) if width <= len(latencies) else width * fmean(latencies)


def measured(width: int, samples: Sequence[Sample], t1_isolated: float) -> SystemMeasurement:
    durations = [sample.duration / 1e6 for sample in samples]
    interval = mean_interval(durations)
    latency = fmean(sample.latency for sample in samples) / 1e6
    speedup_estimated = width * latency / interval.mean
    speedup = t1_isolated / 1e6 / interval.mean
    return SystemMeasurement(
        duration_ms=interval.mean,
        duration_ci95_ms=(interval.low, interval.high),
        samples_ms=tuple(durations),
        llm_calls=len(samples[0].calls),
        avg_latency_ms=latency,
        max_parallelism=max(most_in_flight(sample.calls) for sample in samples),
        t1_estimated_ms=width * latency,
        t1_isolated_ms=t1_isolated / 1e6,
        speedup_estimated=speedup_estimated,
        efficiency_estimated=speedup_estimated / width,
        speedup=speedup,
        theoretical_speedup=float(width),  # N equal calls over one of them: T1 / T_inf of the graph
        efficiency=speedup / width,
    )


def measured_apxm(
    width: int, samples: Sequence[Sample], t1_isolated: float, predicted_ms: float, losses: Sequence[Losses]
) -> ApxmMeasurement:
    as_any = measured(width, samples, t1_isolated)
    traces = [sample.trace for sample in samples if sample.trace is not None]
    return ApxmMeasurement(
        **asdict(as_any),
        overhead_us=_overhead([trace.overhead for trace in traces]),
        predicted_ms=predicted_ms,
        prediction_error=predicted_ms / as_any.duration_ms - 1,
        losses_ms=_mean(losses),
        processor_us=median(trace.processor_ns / trace.executed for trace in traces) / 1e3,
    )


def _overhead(runs: Sequence[Overhead]) -> OverheadMedians:
    collection, dispatch, routing = (
        median(median(part) for run in runs if (part := getattr(run, name))) / 1e3
        for name in ("input_collection", "dispatch", "token_routing")
    )
    total = collection + dispatch + routing
    return OverheadMedians(input_collection=collection, dispatch=dispatch, token_routing=routing, total=total)


def _mean(losses: Sequence[Losses]) -> Losses:
    return convert({term: fmean(getattr(each, term) for each in losses) for term in TERMS}, Losses)
