"""What do lanes cost beyond AIS, and how fast are they beside `asyncio` by hand?

    python -m benchmarks.lanes [--quick]

The same program as a flow of Python and in AIS: rows of three calls, each of which needs the one before it. *Processor
time* is that of the whole process, on an endpoint in memory that answers with the next turn of the loop, so that
nothing but our own work is in it; the garbage of a run is collected before the next. *Memory* is what ten thousand
lanes add when all of them wait at the same time, by the system's own count, greenlets' stacks included. Over HTTP the
endpoint is `apxm simulator` in a process of its own, answering after one second, and so is each system; their runs take
turns.

By hand means one `AsyncOpenAI` client, a semaphore and `gather`; two rows of two calls for each call that may be in
flight. The flow has a journal and a limit of calls, as ever. All share this machine's cores.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from time import process_time

import apxm
from apxm.backends.protocol import AnyBackend, BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest
from apxm.lanes.run import Grown, LaneRun
from apxm.operations.types import Value
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop, run_virtually
from apxm.runtime.open_files import raise_limit
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from benchmarks.fan_out import System, process
from benchmarks.floors import bare_task_us
from benchmarks.graphs import chain
from benchmarks.lanes_systems import THREE, rows, three
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone, tell
from benchmarks.scheduling import NextTurnCallback

SECOND = 1_000_000_000
CALLS = 3
"""Of each row."""
AIS, FLOW = "rows in AIS", "rows in lanes"
AIS_CHAIN, ONE_LANE = "a chain in AIS", "a chain in one lane"
NAMES = {
    "lanes": "a flow",
    "gathered": "gather and a semaphore over the openai SDK",
    "three-lanes": "a flow",
    "three-ais": "AIS",
}


class Second:
    """Answers after a second of whatever clock the loop has."""

    limits = Limits()
    can_reason = False
    info = BackendInfo(name="second", kind="second", model="none", simulated=True)

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:  # noqa: ARG002
        return clock.call_at(clock.now() + SECOND, lambda: done(ModelAnswer("answer")))

    async def close(self) -> None: ...


def in_lanes(main: Callable[[], object], backend: AnyBackend) -> LaneRun:
    return LaneRun(Grown("main", "main.py"), main, BackendPool({backend.info.name: backend}, backend.info.name))


def in_ais(loaded: LoadedProgram, inputs: tuple[Value, ...], backend: AnyBackend) -> Run:
    pool = BackendPool({backend.info.name: backend}, backend.info.name)
    return Run(loaded, loaded.program.flows[0], inputs, pool)


async def done(run: Run) -> Trace:
    trace = await run.execute()
    assert not trace.failures, trace.failures[0]
    return trace


@apxm.flow
def one_lane(calls: int) -> str:
    answer = "task"
    for _ in range(calls):
        answer = apxm.ask(answer)
    return answer


def processor_time(count: int, times: int) -> dict[str, list[float]]:
    """µs per call, in turns."""
    loaded, in_chain = LoadedProgram(apxm.compile_text(THREE)), LoadedProgram(chain("ask", count * CALLS))
    samples: dict[str, list[float]] = {name: [] for name in (AIS, FLOW, AIS_CHAIN, ONE_LANE)}

    async def measure() -> None:
        runs: dict[str, Callable[[], Run]] = {
            AIS: lambda: in_ais(loaded, (rows(count),), NextTurnCallback()),
            FLOW: lambda: in_lanes(lambda: three.lanes(rows(count)), NextTurnCallback()),
            AIS_CHAIN: lambda: in_ais(in_chain, (), NextTurnCallback()),
            ONE_LANE: lambda: in_lanes(lambda: one_lane.lanes(count * CALLS), NextTurnCallback()),
        }
        for turn in range(times + 1):
            for name, make in runs.items():
                tell(f"{name}, {turn} of {times}")
                run = make()
                gc.collect()
                begun = process_time()
                await done(run)
                if turn:  # the first is not counted
                    samples[name].append((process_time() - begun) / count / CALLS * 1e6)

    with asyncio.Runner(loop_factory=real_loop) as runner:
        runner.run(measure())
    return samples


def virtual_seconds(count: int) -> dict[str, float]:
    loaded = LoadedProgram(apxm.compile_text(THREE))

    async def both() -> dict[str, float]:
        ais = await done(in_ais(loaded, (rows(count),), Second()))
        lanes = await done(in_lanes(lambda: three.lanes(rows(count)), Second()))
        return {"AIS": ais.duration / SECOND, "a flow": lanes.duration / SECOND}

    return run_virtually(both())


@apxm.flow
def nested(outer: int, inner: int) -> int:
    for i in apxm.each(range(outer)):
        for k in apxm.each(range(inner)):
            apxm.ask(f"{i} {k}")
    return outer * inner


def resident() -> int:
    """Bytes that this process has in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Holding(Second):
    """Says what is in memory when so many calls wait."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self.then = 0

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        self._left -= 1
        if not self._left:
            self.then = resident()
        return super().begin(request, clock, done)


def memory(outer: int, inner: int) -> float:
    """KiB for each lane."""
    run_virtually(done(in_lanes(lambda: nested.lanes(2, 2), Holding(4))))
    backend = Holding(outer * inner)
    gc.collect()
    before = resident()
    run_virtually(done(in_lanes(lambda: nested.lanes(outer, inner), backend)))
    return (backend.then - before) / (outer * inner + outer) / 1024


def over_http(names: tuple[str, ...], widths: tuple[int, ...], runs: int, latency_ms: int) -> dict[str, list[float]]:
    """Seconds, by what and how many at once; the systems take turns."""
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        server = stack.enter_context(process("benchmarks.fan_out_server", f"constant:{latency_ms}"))
        assert server.stdout is not None
        port = server.stdout.readline().decode().strip()
        systems = {name: System(stack.enter_context(process("benchmarks.lanes_systems", name, port))) for name in names}
        for width in widths:
            for turn in range(runs):
                for name, system in systems.items():
                    tell(f"{NAMES[name]}, {width} at once, {turn + 1} of {runs}")
                    samples.setdefault(f"{name} {width}", []).append(system.run(width).wall_s)
    return samples


def lanes(quick: bool) -> Section:
    raise_limit()
    section = Section("Lanes", caveats(__doc__))
    _cost(section, quick)
    _beside_ais(section, quick)
    _beside_gather(section, quick)
    return section


def _cost(section: Section, quick: bool) -> None:
    count, times = (50, 1) if quick else (1_000, 25)
    spent = processor_time(count, times)
    more = {
        ours: [mine - theirs for mine, theirs in zip(spent[ours], spent[ais], strict=True)]
        for ours, ais in ((ONE_LANE, AIS_CHAIN), (FLOW, AIS))
    }
    command = [sys.executable, "-m", "benchmarks.lanes", "--memory", *(("2", "50") if quick else ("10", "1000"))]
    each_kib = float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    table = [
        *((f"processor time of a call, {name}", f"{spread(samples)} µs") for name, samples in spent.items()),
        *((f"what {name} takes more", f"{spread(samples)} µs") for name, samples in more.items()),
        ("memory of a lane that waits", f"{digits(each_kib)} KiB"),
    ]
    section.tables.append(
        (f"{count:,} rows of {CALLS} calls; medians, in brackets the range.", ("What", "Each"), table)
    )
    section.samples |= {f"us per call, {name}": samples for name, samples in spent.items()}
    for name, samples in more.items():
        more_than = median(samples) / bare_task_us()
        section.claims.append(Claim(f"a call of {name}, beyond one of AIS: × a bare task", more_than, 6))
    section.claims.append(Claim("memory of a lane that waits", each_kib, 20, unit=" KiB"))


def _beside_ais(section: Section, quick: bool) -> None:
    count = 20 if quick else 1_000
    virtual = virtual_seconds(count)
    found = over_http(("three-ais", "three-lanes"), (count,), 1 if quick else 7, 50 if quick else 1_000)
    ais, flow = found[f"three-ais {count}"], found[f"three-lanes {count}"]
    table = [("AIS", f"{virtual['AIS']:g}", spread(ais)), ("a flow", f"{virtual['a flow']:g}", spread(flow))]
    caption = f"{count:,} rows of {CALLS} calls of a second, all at once."
    section.tables.append((caption, ("What", "Virtual time (s)", "Over HTTP (s)"), table))
    section.samples |= {"s, AIS": ais, "s, a flow": flow}
    where = f"{count:,} rows of {CALLS} calls"
    section.claims.append(Claim(f"{where}, virtual time over that of AIS", virtual["a flow"] / virtual["AIS"], 1.03))
    section.claims.append(Claim(f"{where}, wall time over that of AIS", median(flow) / median(ais), 1.03))


def _beside_gather(section: Section, quick: bool) -> None:
    widths = (4,) if quick else (8, 64, 256)
    found = over_http(("gathered", "lanes"), widths, 1 if quick else 7, 50 if quick else 1_000)
    table: list[tuple[str, ...]] = []
    for width in widths:
        gathered, flow = found[f"gathered {width}"], found[f"lanes {width}"]
        speed = median(gathered) / median(flow)
        table.append((str(width), spread(gathered), spread(flow), f"{speed:.3f}"))
        section.samples |= {f"s, by hand, {width}": gathered, f"s, a flow, {width}": flow}
        least = 0.98 if width < 256 else 1.0
        section.claims.append(Claim(f"speed over that by hand, {width} at once", speed, least, at_least=True))
    headers = ("At once", "By hand (s)", "A flow (s)", "Speed of the flow over that by hand")
    section.tables.append(("Two rows of two calls of a second for each call at once.", headers, table))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(memory(*map(int, sys.argv[2:])))
    else:
        standalone(lanes, __doc__)
