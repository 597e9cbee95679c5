"""Workload 4, the whole way: calibrate, predict, measure both systems, explain."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from math import isfinite
from types import ModuleType

from msgspec.structs import replace

from apxm.analysis.calibrate import Calibration, calibrate, most_calls
from apxm.analysis.losses import Losses, losses
from apxm.analysis.profile import Profile
from apxm.backends.openai import OpenAIBackend
from apxm.runtime.open_files import raise_limit
from apxm.workloads.apxm_system import ApxmSystem
from apxm.workloads.catalog import SCALABILITY
from apxm.workloads.comparison import APXM, LANGGRAPH, CalibrationEffort, ComparisonResults, Guesses, Width
from apxm.workloads.endpoints import SharedEndpoint
from apxm.workloads.langgraph_system import PACKAGES, LangGraphSystem
from apxm.workloads.measuring import FailedRuns, Report, Schedule, interleaved, isolated_latencies
from apxm.workloads.results import isolated_t1, measured, measured_apxm
from apxm.workloads.scalability import programs
from apxm.workloads.systems import Sample, System

CALIBRATION_CALLS = 64
"""Most calls one at a time; an endpoint that always takes equally long needs fewer."""
CALIBRATION_PRECISION = 0.025
"""Each of its means is known to 5%, which is two standard errors."""
CALIBRATION_GROWTH = 8
"""At concurrency c calls are c times as many, 8 at most: they take no longer, and what lies beyond rests on them."""


@dataclass(frozen=True)
class ComparisonOutcome:
    comparison: ComparisonResults
    guesses: Guesses
    """What simpler models would have predicted for A-PXM."""
    profile: Profile | None
    """What the calibration just before found, from which A-PXM's runs were predicted and explained."""


class SystemComparison:
    """One comparison of A-PXM and LangGraph, or of one of them with the ideal alone."""

    def __init__(
        self,
        schedule: Schedule,
        endpoint: SharedEndpoint,
        *,
        apxm: bool,
        peer: ModuleType | None,
        report: Report,
        calibrate_for: float | None = None,
    ) -> None:
        """Compiles everything. `peer` is LangGraph's program; None leaves LangGraph out. The calibration takes at most
        `calibrate_for` seconds, as far as it can be had in so many; by default, as long as the runs are expected to."""
        raise_limit()
        report("compiling")
        self._schedule = schedule
        self._endpoint = endpoint
        self._report = report
        self._backend = OpenAIBackend("endpoint", endpoint.settings, endpoint.environment)
        # Also where LangGraph is measured alone: one client measures what a call takes alone, for both.
        self._own = ApxmSystem(programs(sorted({*schedule.widths, schedule.isolated_width})), self._backend)
        self._systems: list[System] = [self._own] if apxm else []
        self._calibrates = apxm
        self._calibrate_for = calibrate_for
        if peer is not None:
            self._systems.append(LangGraphSystem(peer, schedule.widths, endpoint.settings, endpoint.environment))

    @property
    def calls(self) -> int:
        """How many calls `run` makes at most."""
        runs = self._schedule.calls(len(self._systems))
        if not self._calibrates:
            return runs
        return runs + most_calls(self._concurrencies, CALIBRATION_CALLS, CALIBRATION_GROWTH)

    async def run(self) -> ComparisonOutcome:
        """Raises `WorkloadFailed` where too many of all those runs fail, `CalibrationFailed` where calls do."""
        schedule, begin, report = self._schedule, self._endpoint.begin_iteration, self._report
        failures = FailedRuns()
        try:
            calibration = await self._calibrate() if self._calibrates else None
            profile = calibration.profile if calibration else None
            predicted = {n: self._own.predicted_ms(n, profile) for n in schedule.widths} if profile else {}
            isolated = await isolated_latencies(self._own, schedule, begin, report, failures)
            samples = await interleaved(self._systems, schedule, begin, report, failures)
        finally:
            for system in {self._own, *self._systems}:
                await system.close()
        results = tuple(self._width(n, samples, isolated_t1(isolated, n), profile, predicted) for n in schedule.widths)
        comparison = ComparisonResults(
            workload=SCALABILITY.name,
            endpoint=self._endpoint.description,
            seed=self._endpoint.seed,
            iterations=schedule.iterations,
            calibration=_effort(calibration) if calibration else None,
            failed_runs=failures.failed,
            versions=_versions(langgraph=LANGGRAPH in [system.name for system in self._systems]),
            results=results,
        )
        return ComparisonOutcome(comparison, _guesses(results, profile) if profile else {}, profile)

    @property
    def _concurrencies(self) -> list[int]:
        limit = self._backend.limits.max_concurrency
        return [c for c in self._schedule.calibrated if limit is None or c <= limit]

    async def _calibrate(self) -> Calibration:
        def within(call_s: float) -> float:
            given = self._calibrate_for
            return self._schedule.seconds(len(self._systems), call_s) if given is None else given

        return await calibrate(
            self._backend,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            concurrencies=self._concurrencies,
            calls=CALIBRATION_CALLS,
            growth=CALIBRATION_GROWTH,
            precision=CALIBRATION_PRECISION,
            within=within,
            report=lambda text: self._report(f"calibrating: {text}"),
        )

    def _width(
        self,
        n: int,
        samples: dict[tuple[str, int], list[Sample]],
        t1: float,
        profile: Profile | None,
        predicted: dict[int, float],
    ) -> Width:
        apxm = langgraph = None
        if profile:
            runs = samples[APXM, n]
            apxm = measured_apxm(n, runs, t1, predicted[n], [_losses(run, profile) for run in runs])
        if (LANGGRAPH, n) in samples:
            langgraph = measured(n, samples[LANGGRAPH, n], t1)
        return Width(n=n, apxm=apxm, langgraph=langgraph)


def _effort(found: Calibration) -> CalibrationEffort:
    error = found.error if isfinite(found.error) else None
    return CalibrationEffort(seconds=found.seconds, calls=found.calls, error=error, in_time=found.in_time)


def _losses(run: Sample, profile: Profile) -> Losses:
    assert run.trace is not None
    found = losses(run.trace, profile)
    # A sample also counts what prepares the run, which the trace does not see.
    return replace(found, runtime=found.runtime + (run.duration - run.trace.duration) / 1e6)


def _guesses(results: Sequence[Width], profile: Profile) -> Guesses:
    """Three models that know less than ours: no load at all, the load of the calibration, and that nothing changes."""
    alone, loaded = profile.levels[0].latency_ms, profile.levels[-1].latency_ms
    before = {after.n: earlier.apxm.duration_ms for earlier, after in pairwise(results) if earlier.apxm}
    return {
        "T_inf, isolated": {result.n: alone for result in results},
        "depth × latency": {result.n: loaded for result in results},
        "previous N": before,
    }


def _versions(langgraph: bool) -> dict[str, str]:
    packages = ("apxm", "pyqwest", *(PACKAGES if langgraph else ()))
    machine = {"python": platform.python_version(), "platform": platform.platform()}
    return machine | {package: version(package) for package in packages}
