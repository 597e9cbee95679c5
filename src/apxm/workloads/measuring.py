"""The runs of a comparison, in their order."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from apxm.workloads.apxm_system import ApxmSystem
from apxm.workloads.systems import Sample, System, WorkloadFailed

ISOLATED_CALLS = 16
"""Most calls of an isolated run: one at a time, more would take longer than all the rest."""

_MOST_FAILED = 0.1
"""Part of the runs."""

Begin = Callable[[int], None]
"""Tells the endpoint which iteration the next run belongs to."""
Report = Callable[[str], None]
"""Takes what happens now, in a few words."""


@dataclass(frozen=True)
class Schedule:
    widths: tuple[int, ...]
    """The numbers of calls at once, rising."""
    iterations: int
    warmup: int

    @property
    def isolated_width(self) -> int:
        return min(self.widths[-1], ISOLATED_CALLS)

    @property
    def calibrated(self) -> tuple[int, ...]:
        """Concurrencies to calibrate at: doubled up to half of what is then predicted."""
        half = max(1, self.widths[-1] // 2)
        return (*(1 << k for k in range(half.bit_length()) if 1 << k < half), half)

    def seconds(self, systems: int, call_s: float) -> float:
        """How long all the runs take where calls take `call_s` each, however many there are at once."""
        rounds = self.warmup + self.iterations
        return call_s * (rounds * systems * len(self.widths) + self.warmup + self.iterations * self.isolated_width)

    def calls(self, systems: int) -> int:
        """How many model calls all the runs make, calibration not counted."""
        runs = (self.warmup + self.iterations) * systems * sum(self.widths)
        return runs + (self.warmup + self.iterations) * self.isolated_width


class FailedRuns:
    """Counts the runs that fail and are left out. One in ten may, and one in any case: a call that is lost now and then
    is no reason to lose what all others have measured."""

    def __init__(self) -> None:
        self.failed = 0
        self._runs = 0

    async def sample(self, run: Awaitable[Sample]) -> Sample | None:
        """What a run measured; None where it failed. Raises `WorkloadFailed` once too many have."""
        self._runs += 1
        try:
            return await run
        except WorkloadFailed:
            self.failed += 1
            if self.failed > max(1, _MOST_FAILED * self._runs):
                raise
            return None


async def interleaved(
    systems: Sequence[System], schedule: Schedule, begin: Begin, report: Report, failures: FailedRuns
) -> dict[tuple[str, int], list[Sample]]:
    """One sample per iteration, by system and width: A B A B …, so that drift meets both alike. Raises
    `WorkloadFailed`, also where no run of a system at a width was left."""
    samples: dict[tuple[str, int], list[Sample]] = {(s.name, n): [] for s in systems for n in schedule.widths}
    for width in schedule.widths:
        for iteration, counts in _rounds(schedule):
            for system in systems:
                kind = f"run {iteration + 1} of {schedule.iterations}" if counts else "warm-up"
                report(f"N = {width}, {system.name}, {kind}")
                begin(iteration)
                gc.collect()  # nobody pays for another one's garbage
                sample = await failures.sample(system.run(width))
                if counts and sample is not None:
                    samples[system.name, width].append(sample)
    for (name, width), found in samples.items():
        _must_not_be_empty(found, f"every run of {name} at N = {width} failed")
    return samples


async def isolated_latencies(
    system: ApxmSystem, schedule: Schedule, begin: Begin, report: Report, failures: FailedRuns
) -> list[float]:
    """The mean latency of each call in ns, in the order of the text, when it is the only one in flight; over the same
    iterations, so the same draws, as the runs."""
    width = schedule.isolated_width
    latencies: list[list[int]] = []
    for iteration, counts in _rounds(schedule):
        report(f"one call at a time, {f'run {iteration + 1} of {schedule.iterations}' if counts else 'warm-up'}")
        begin(iteration)
        sample = await failures.sample(system.run_serially(width) if counts else system.run(width))
        if counts and sample is not None:
            latencies.append([call.received - call.sent for call in sample.calls])
    _must_not_be_empty(latencies, "every run with one call at a time failed")
    return [fmean(of_call) for of_call in zip(*latencies, strict=True)]


def _must_not_be_empty(measured: Sequence[object], message: str) -> None:
    if not measured:
        raise WorkloadFailed(message)


def _rounds(schedule: Schedule) -> list[tuple[int, bool]]:
    """The iteration of each run, and whether it counts. Warm-ups come first and have the last numbers, so that how many
    there are changes no draw of a run that counts."""
    warmup = [(schedule.iterations + k, False) for k in range(schedule.warmup)]
    return [*warmup, *((k, True) for k in range(schedule.iterations))]
