"""What does the scheduler cost per operation, beside a bare task, LangGraph and Hamilton?

    python -m benchmarks.scheduling [--quick]

Operations do nothing, so nothing but scheduling is measured. All of it runs in one process, one thing after the other
and round after round, on uvloop (what A-PXM runs on) and, where the loop itself decides the comparison, on asyncio's
own loop too: a bare task is 1.7 times as dear there.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import timeit
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter_ns
from typing import NamedTuple
from unittest.mock import patch

from apxm.analysis.measure import overhead_breakdown
from apxm.analysis.metrics import OverheadBreakdown
from apxm.backends.protocol import AnyBackend, BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest
from apxm.program.program import Program
from apxm.runtime import loops
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.records import Records
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from benchmarks.floors import bare_task_us, gathered
from benchmarks.graphs import chain, fan_out
from benchmarks.peers import hamilton_graph, langgraph_graph
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone, tell

ANSWER = ModelAnswer("answer")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": real_loop, "asyncio": asyncio.new_event_loop}


class Instant:
    """Coroutine style: an async function that returns at once. The default time limit is on."""

    limits = Limits(timeout_s=120.0)
    can_reason = False
    info = BackendInfo(name="instant", kind="instant", model="none")

    async def call(self, request: ModelRequest) -> ModelAnswer:  # noqa: ARG002
        return ANSWER

    async def close(self) -> None:
        pass


class NextTurn(Instant):
    """The same, behind one turn of the event loop, as `asyncio.sleep(0)` is."""

    async def call(self, request: ModelRequest) -> ModelAnswer:  # noqa: ARG002
        await asyncio.sleep(0)
        return ANSWER


class NextTurnCallback:
    """Callback style: the answer comes with the next turn of the event loop, and no task is needed."""

    limits = Limits(timeout_s=120.0)
    can_reason = False
    info = BackendInfo(name="callback", kind="callback", model="none")

    def __init__(self) -> None:
        self._call_soon = asyncio.get_running_loop().call_soon

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:  # noqa: ARG002
        return self._call_soon(done, ANSWER)

    async def close(self) -> None:
        pass


async def run(program: LoadedProgram, backend: AnyBackend) -> Trace:
    pool = BackendPool({backend.info.name: backend}, backend.info.name)
    trace = await Run(program, program.program.flows[0], (), pool).execute()
    assert not trace.failures, trace.failures[0]
    return trace


class Case(NamedTuple):
    name: str
    count: int
    once: Callable[[], Awaitable[object]]


def rounds(cases: list[Case], times: int, loop: str) -> dict[tuple[str, int], list[float]]:
    """µs per operation, by case: A B C A B C …, each right behind a run of its own that is not counted, so that none
    pays for what the one before it left in the caches."""
    samples: dict[tuple[str, int], list[float]] = {(case.name, case.count): [] for case in cases}

    async def measure() -> None:
        for turn in range(times):
            for case in cases:
                tell(f"{loop}: {case.name}, {case.count:,}, {turn + 1} of {times}")
                gc.collect()
                await case.once()
                begun = perf_counter_ns()
                await case.once()
                samples[case.name, case.count].append((perf_counter_ns() - begun) / case.count / 1e3)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(measure())
    return samples


def ours(name: str, program: Program, backend: Callable[[], AnyBackend]) -> Case:
    loaded = LoadedProgram(program)
    return Case(name, len(program.plans[0].nodes) - 2, lambda: run(loaded, backend()))


BARE = "asyncio.gather of sleep(0)"
INLINE, INLINE_CHAIN = "needs no waiting, fan-out", "needs no waiting, chain"
WAITS, WAITS_TASK = "waits, by callback", "waits, by task"


def against_bare_tasks(section: Section, quick: bool) -> None:
    counts = (100,) if quick else (1_000, 100_000)
    rows: list[tuple[str, ...]] = []
    for loop in LOOPS:
        for count in counts:
            cases = [
                Case(BARE, count, lambda count=count: gathered(count)),
                ours(INLINE, fan_out("wait_all", count), NextTurnCallback),
                ours(INLINE_CHAIN, chain("wait_all", count), NextTurnCallback),
                ours(WAITS, fan_out("ask", count), NextTurnCallback),
                ours(WAITS_TASK, fan_out("ask", count), NextTurn),
            ]
            found = rounds(cases, 1 if quick else 15 if count <= 1_000 else 3, loop)
            bare = median(found[BARE, count])
            for (name, _), samples in found.items():
                rows.append((loop, f"{count:,}", name, spread(samples), f"{median(samples) / bare:.2f}"))
                section.samples[f"us per operation, {loop}, {count}, {name}"] = samples
            for name, target in ((INLINE, 0.25), (INLINE_CHAIN, 0.25), (WAITS, 1.25), (WAITS_TASK, 1.25)):
                ratio = median(found[name, count]) / bare
                section.claims.append(Claim(f"{name}, {count:,}, {loop}: × a bare task", ratio, target))
    headers = ("Loop", "Operations", "What", "µs per operation, median [range]", "× bare task")
    section.tables.append(("One operation beside one bare task, the whole run included.", headers, rows))


def against_peers(section: Section, quick: bool) -> None:
    shapes = (("fan-out", 8), ("chain", 8)) if quick else (("fan-out", 64), ("fan-out", 1_024), ("chain", 1_000))
    sys.setrecursionlimit(20_000)  # Hamilton walks a chain by recursion
    rows: list[tuple[str, ...]] = []
    for shape, count in shapes:
        made = fan_out("ask", count) if shape == "fan-out" else chain("ask", count)
        names = ("A-PXM", "Hamilton", "LangGraph")
        cases = [
            ours(names[0], made, Instant),
            Case(names[1], count, hamilton_graph(shape, count)),
            Case(names[2], count, langgraph_graph(shape, count)),
        ]
        found = rounds(cases, 1 if quick else 5, "uvloop")
        per = {name: median(found[name, count]) for name in names}
        rows.append((shape, f"{count:,}", *(spread(found[name, count]) for name in names)))
        section.samples |= {f"us per operation, {shape} of {count}, {name}": found[name, count] for name in names}
        for peer, target in (("LangGraph", 25), ("Hamilton", 3)):
            ratio = per[peer] / per["A-PXM"]
            section.claims.append(Claim(f"{shape} of {count:,}: {peer} over A-PXM", ratio, target, at_least=True))
    caption = "Nodes that are async Python functions returning at once, µs per operation, median [range]; uvloop."
    section.tables.append((caption, ("Shape", "Operations", *names), rows))


def parts(section: Section, quick: bool) -> None:
    """What metrics themselves report, with metrics on as they always are."""
    rows: list[tuple[str, ...]] = []
    for count in (2, 8) if quick else (2, 4, 8, 64, 1_024):
        loaded = LoadedProgram(fan_out("ask", count))

        async def measure(loaded: LoadedProgram = loaded, count: int = count) -> list[OverheadBreakdown]:
            times = 3 if quick else max(7, 400 // count)
            return [overhead_breakdown((await run(loaded, Instant())).overhead) for _ in range(times)]

        with asyncio.Runner(loop_factory=real_loop) as runner:
            found = runner.run(measure())
        collection = median(part.input_collection_us for part in found)
        dispatch = median(part.dispatch_us for part in found)
        routing = median(part.token_routing_us for part in found)
        total = collection + dispatch + routing
        rows.append((f"{count:,}", *(digits(part) for part in (collection, dispatch, routing, total))))
        section.samples[f"us input collection and token routing, {count}"] = [
            p.input_collection_us + p.token_routing_us for p in found
        ]
        share = (collection + routing) / bare_task_us()
        section.claims.append(Claim(f"N = {count:,}: input collection + token routing, × a bare task", share, 0.4))
    headers = ("N", "Input collection", "Dispatch", "Token routing", "Total")
    caption = (
        "The seed's own terms, µs per operation: medians within a run, then over the runs. "
        "The seed has 1.3–3.0 for the first and the third together."
    )
    section.tables.append((caption, headers, rows))


def _record_nothing(*_: object) -> None: ...


def cost_of_metrics(section: Section, quick: bool) -> None:
    """The same runs with a clock that is almost free, what it costs taken off, and without records."""
    count, times = (100, 1) if quick else (1_000, 30)
    constant = itertools.repeat(0).__next__
    constant_us = min(timeit.repeat(constant, number=10_000, repeat=5)) / 10_000 * 1e6
    rows: list[tuple[str, ...]] = []
    for name, made, backend in (
        (INLINE, fan_out("wait_all", count), NextTurnCallback),
        (WAITS, fan_out("ask", count), NextTurnCallback),
        (WAITS_TASK, fan_out("ask", count), NextTurn),
    ):
        loaded = LoadedProgram(made)

        async def several(loaded: LoadedProgram = loaded, backend: Callable[[], AnyBackend] = backend) -> None:
            for _ in range(4):  # one alone may or may not fall on a collection of garbage
                await run(loaded, backend())

        case = Case(name, 4 * count, several)
        on: list[float] = []
        off: list[float] = []
        for _ in range(times):
            on += rounds([case], 1, "uvloop")[name, case.count]
            with patch.object(loops, "perf_counter_ns", constant), patch.object(Records, "keep", _record_nothing):
                off += rounds([case], 1, "uvloop")[name, case.count]
        readings = itertools.count()
        with patch.object(loops, "perf_counter_ns", readings.__next__):
            rounds([case], 1, "uvloop")
        per_operation = next(readings) / 2 / case.count  # each round has one before it that is not counted
        bare = median(off) - per_operation * constant_us
        share = 1 - bare / median(on)
        rows.append((name, spread(on), digits(bare), f"{per_operation:.1f}", f"{share:.0%}"))
        section.samples |= {f"us per operation, metrics on, {name}": on, f"metrics off, a free clock, {name}": off}
        section.claims.append(Claim(f"{name}: share of metrics in the whole cost", share, 0.1))
    headers = (
        "What",
        "µs per operation, median [range]",
        "Without metrics",
        "Readings of the clock",
        "Share of metrics",
    )
    section.tables.append((f"{count:,} operations on uvloop, with metrics as always, and without.", headers, rows))


def scheduling(quick: bool) -> Section:
    section = Section("Scheduling", caveats(__doc__))
    parts(section, quick)
    cost_of_metrics(section, quick)
    against_bare_tasks(section, quick)
    against_peers(section, quick)
    return section


if __name__ == "__main__":
    standalone(scheduling, __doc__)
