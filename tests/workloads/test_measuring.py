"""The order of the runs, and the numbers made of them; on virtual time, so that every number is exact."""

from __future__ import annotations

import pytest

from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.runtime.loops import run_virtually
from apxm.testing import ScriptedBackend
from apxm.workloads.apxm_system import ApxmSystem
from apxm.workloads.comparison import SystemMeasurement
from apxm.workloads.measuring import FailedRuns, Schedule, interleaved, isolated_latencies
from apxm.workloads.results import isolated_t1, measured
from apxm.workloads.scalability import programs, prompts
from apxm.workloads.systems import Sample, TimedCall, WorkloadFailed, most_in_flight

MS = 1_000_000


@pytest.fixture(autouse=True)
def without_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost a third of a second each beside all that a run of the tests has loaded, and virtual time sees none."""
    monkeypatch.setattr("gc.collect", lambda: 0)


def compare_virtually(backend: SimulatedBackend, schedule: Schedule) -> dict[int, SystemMeasurement]:
    async def compare() -> dict[int, SystemMeasurement]:
        system = ApxmSystem(programs([*schedule.widths, schedule.isolated_width]), backend)
        isolated = await isolated_latencies(system, schedule, backend.start_run, print, FailedRuns())
        samples = await interleaved([system], schedule, backend.start_run, print, FailedRuns())
        return {n: measured(n, samples[system.name, n], isolated_t1(isolated, n)) for n in schedule.widths}

    return run_virtually(compare())


class Recording:
    """A system that only writes down when it was asked to run."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self._log = log

    async def run(self, width: int) -> Sample:
        self._log.append(f"{self.name}{width}")
        return Sample(MS, (TimedCall(0, MS),) * width, "")

    async def close(self) -> None:
        pass


def test_runs_alternate_and_each_pair_meets_the_same_iteration() -> None:
    log: list[str] = []
    schedule = Schedule(widths=(1, 4), iterations=2, warmup=1)
    systems = [Recording("A", log), Recording("B", log)]
    samples = run_virtually(interleaved(systems, schedule, lambda i: log.append(f"iteration {i}"), print, FailedRuns()))
    rounds = [f"iteration {i} A{{n}} iteration {i} B{{n}}" for i in (2, 0, 1)]  # the warm-up's draws are nobody else's
    assert " ".join(log) == " ".join([*rounds, *(r.replace("{n}", "4") for r in rounds)]).replace("{n}", "1")
    assert {key: len(found) for key, found in samples.items()} == {(s, n): 2 for s in "AB" for n in (1, 4)}


def test_the_announced_number_of_calls_is_the_number_of_calls() -> None:
    backend = ScriptedBackend()
    schedule = Schedule(widths=(1, 2, 8), iterations=3, warmup=2)

    async def compare() -> None:
        system = ApxmSystem(programs([1, 2, 8]), backend)
        await isolated_latencies(system, schedule, lambda _: None, print, FailedRuns())
        await interleaved([system], schedule, lambda _: None, print, FailedRuns())

    run_virtually(compare())
    assert len(backend.calls) == schedule.calls(systems=1)


def test_the_seeds_latencies_give_the_seeds_speedups() -> None:
    # Latencies of the seed's mean and maximum: its tables give no others.
    for n, trace, speedup, efficiency in (
        (2, "1513,1859", 1.81, 0.91),
        (4, "1500,1600,1605,3183", 2.48, 0.62),
        (8, "3000,3100,3200,3300,3400,3450,3460,5818", 4.94, 0.62),
    ):
        backend = SimulatedBackend(latency=f"trace:{trace}")
        found = compare_virtually(backend, Schedule((n,), iterations=2, warmup=1))[n]
        assert round(found.speedup_estimated, 2) == speedup
        assert round(found.efficiency_estimated, 2) == efficiency
        assert found.duration_ms == max(map(float, trace.split(",")))
        assert found.duration_ci95_ms == (found.duration_ms, found.duration_ms)
        assert (found.llm_calls, found.max_parallelism, found.theoretical_speedup) == (n, n, float(n))


def test_only_the_isolated_speedup_sees_that_load_slows_every_call() -> None:
    # s(c) = 1 + (c−1)/2: eight calls at once take 4.5 times as long as one.
    backend = SimulatedBackend(latency="constant:100", slowdown="usl:0.5,0")
    found = compare_virtually(backend, Schedule((1, 8), iterations=1, warmup=0))
    assert found[8].duration_ms == pytest.approx(450)
    assert found[8].avg_latency_ms == pytest.approx(450)
    assert found[8].speedup_estimated == pytest.approx(8)
    assert found[8].t1_isolated_ms == pytest.approx(800)
    assert found[8].speedup == pytest.approx(800 / 450)
    assert found[8].efficiency == pytest.approx(800 / 450 / 8)
    assert found[1].speedup == pytest.approx(1)


def test_isolated_calls_meet_the_draws_of_the_runs() -> None:
    # Without load a call takes as long in company as alone, so both sums are of the same draws.
    backend = SimulatedBackend(latency="lognormal:100,0.8", seed=5)
    found = compare_virtually(backend, Schedule((1, 2, 4), iterations=3, warmup=1))
    for n in (1, 2, 4):
        assert found[n].t1_isolated_ms == pytest.approx(found[n].t1_estimated_ms)
    assert len(set(found[4].samples_ms)) == 3, "iterations draw anew"
    low, high = found[4].duration_ci95_ms
    assert low < found[4].duration_ms < high


def test_beyond_the_isolated_calls_t1_is_as_many_times_their_mean() -> None:
    assert isolated_t1([1.0, 2.0, 3.0], 2) == 3.0
    assert isolated_t1([1.0, 2.0, 3.0], 6) == 12.0


class Failing(Recording):
    """Its runs of these numbers, from 0, fail."""

    def __init__(self, *numbers: int) -> None:
        super().__init__("A", [])
        self._numbers = numbers

    async def run(self, width: int) -> Sample:
        number = len(self._log)
        sample = await super().run(width)
        if number in self._numbers:
            raise WorkloadFailed(f"run {number} failed")
        return sample


def test_one_failed_run_of_many_is_counted_and_left_out() -> None:
    schedule = Schedule(widths=(1, 4), iterations=3, warmup=1)
    for number in range(8):
        failures = FailedRuns()
        samples = run_virtually(interleaved([Failing(number)], schedule, lambda _: None, print, failures))
        assert failures.failed == 1
        assert sum(map(len, samples.values())) == (6 if number in (0, 4) else 5), "a warm-up counts for nothing anyway"


def test_more_than_one_run_in_ten_that_fails_ends_the_comparison() -> None:
    schedule = Schedule(widths=(1,), iterations=30, warmup=0)
    with pytest.raises(WorkloadFailed, match="run 2 failed"):
        run_virtually(interleaved([Failing(1, 2)], schedule, lambda _: None, print, FailedRuns()))
    failures = FailedRuns()
    samples = run_virtually(interleaved([Failing(1, 19, 29)], schedule, lambda _: None, print, failures))
    assert (failures.failed, len(samples["A", 1])) == (3, 27)


def test_a_width_without_a_run_that_succeeded_ends_the_comparison() -> None:
    schedule = Schedule(widths=(1,), iterations=1, warmup=0)
    with pytest.raises(WorkloadFailed, match="every run of A at N = 1 failed"):
        run_virtually(interleaved([Failing(0)], schedule, lambda _: None, print, FailedRuns()))


def test_a_failed_call_fails_its_run_and_says_whose_it_was() -> None:
    backend = ScriptedBackend(
        script=lambda request: (
            BackendError("http_status", "answered 500", retryable=True) if request.prompt == prompts(2)[1] else "fine"
        )
    )
    with pytest.raises(WorkloadFailed, match=r"1 of the calls failed in A-PXM.*http_status: answered 500"):
        run_virtually(ApxmSystem(programs([2]), backend).run(2))


@pytest.mark.parametrize(
    ("calls", "most"),
    [
        ([], 0),
        ([(0, 5)], 1),
        ([(0, 5), (5, 9)], 1),
        ([(0, 5), (4, 9), (8, 12)], 2),
        ([(0, 9), (1, 2), (3, 9), (4, 9)], 3),
    ],
)
def test_calls_in_flight_at_once(calls: list[tuple[int, int]], most: int) -> None:
    assert most_in_flight([TimedCall(*call) for call in calls]) == most


def test_how_long_all_runs_take_where_load_slows_nothing_down() -> None:
    """Two systems at two widths, each warmed up once and run three times; and five calls one at a time, three times."""
    schedule = Schedule((2, 5), iterations=3, warmup=1)
    assert schedule.seconds(systems=2, call_s=2.0) == 2.0 * (4 * 2 * 2 + 1 + 3 * 5)
