"""What does waiting cost: a process whose runs have nothing to do until a model answers?

    python -m benchmarks.waiting [--quick]

Runs of one call each are begun at once; when all of them wait, the processor time of the whole process is read, and
again two seconds later. What beginning and ending them costs is no part of it. *Handler of one's own* is a coroutine
that sleeps: code of somebody else's is watched, so it is the case in which most could be going on.

Below, the processor time of N = 8 calls of a second over HTTP, from beginning to end, beside bare pyqwest that asks the
same endpoint: every system in a process of its own, as in `benchmarks.fan_out`. What a journal costs beyond is making
and closing it, once per run, and no waiting; it has no target here.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import process_time

import apxm
from apxm.backends.protocol import AnyBackend, BackendInfo, Limits, ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop
from apxm.runtime.open_files import raise_limit
from apxm.runtime.scheduler import Run
from benchmarks.fan_out import NAMES, Setting, measure, process
from benchmarks.fan_out_systems import Where, backend
from benchmarks.floors import woken_ms
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone, tell

PROGRAM = 'agent A { @entry flow f() -> str { ask("Task") -> answer return answer } }'
RUNS = (1, 1000)
SYSTEMS = ("pyqwest", "unjournaled", "apxm")


class Sleeper:
    """A backend of one's own."""

    limits = Limits()
    can_reason = False
    info = BackendInfo(name="endpoint", kind="test", model="none")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def call(self, request: ModelRequest) -> ModelAnswer:  # noqa: ARG002
        await asyncio.sleep(self._seconds)
        return ModelAnswer("answer")

    async def close(self) -> None:
        pass


async def waited(once: Callable[[], Awaitable[object]], count: int, settle_s: float, for_s: float) -> float:
    """ms of processor time a second, while so many wait that were begun `settle_s` ago."""
    gc.collect()
    going = asyncio.gather(*(once() for _ in range(count)))
    await asyncio.sleep(settle_s)
    begun = process_time()
    await asyncio.sleep(for_s)
    spent = process_time() - begun
    assert not going.done(), "they did not wait for that long"
    await going
    return spent / for_s * 1e3


def by_runs(who: AnyBackend) -> Callable[[], Awaitable[object]]:
    program = LoadedProgram(apxm.compile_text(PROGRAM))
    pool = BackendPool({"endpoint": who}, "endpoint")

    async def once() -> None:
        trace = await Run(program, program.program.flows[0], (), pool).execute()
        assert not trace.failures, trace.failures[0]

    return once


def by_flows(seconds: float) -> Callable[[], Awaitable[object]]:
    @apxm.flow
    def asks() -> str:
        return apxm.ask("Task")

    using = asks.using(backend="simulated", latency=f"constant:{seconds * 1000:g}", config=None)
    return using.run_async


def idle(seconds: float, port: str, rounds: int) -> Iterator[tuple[str, int, list[float]]]:
    cases: dict[str, Callable[[], Awaitable[object]]] = {
        "simulated backend": by_runs(SimulatedBackend(latency=f"constant:{seconds * 1000:g}")),
        "handler of one's own": by_runs(Sleeper(seconds)),
        "flows of Python, simulated backend": by_flows(seconds),
        "over HTTP": by_runs(backend(Where(int(port), None))),  # last: the connections that it leaves are closed later
    }
    with asyncio.Runner(loop_factory=real_loop) as runner:
        for name, once in cases.items():
            for count in RUNS:
                tell(f"{name}, {count:,} runs")
                rates = [runner.run(waited(once, count, seconds / 2, seconds / 3)) for _ in range(rounds)]
                yield name, count, rates


def waiting(quick: bool) -> Section:
    raise_limit()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    section = Section("Waiting", caveats(__doc__))
    seconds, rounds = (1.5, 1) if quick else (6.0, 3)
    woken = median(woken_ms(seconds / 3) for _ in range(rounds))
    rows: list[Sequence[str]] = [("nobody: a loop that is woken a hundred times a second", digits(woken))]
    with process("benchmarks.fan_out_server", f"constant:{seconds * 1000:g}") as server:
        assert server.stdout is not None
        for name, count, rates in idle(seconds, server.stdout.readline().decode().strip(), rounds):
            what = f"{name}, {count:,} {'run' if count == 1 else 'runs at once'}"
            rows.append((what, spread(rates)))
            section.samples[f"ms a second, {what}"] = rates
            section.claims.append(Claim(f"{what}: × being woken a hundred times a second", median(rates) / woken, 0.5))
    headers = ("Who waits", "Processor time a second of waiting (ms)")
    section.tables.append((f"Medians of {rounds}, in brackets the range.", headers, rows))
    _beside_pyqwest(section, quick)
    return section


def _beside_pyqwest(section: Section, quick: bool) -> None:
    setting = Setting(0.05 if quick else 1, False, False, (8,), 1 if quick else 15, SYSTEMS)
    spent = {system: [run.cpu_s * 1e3 for run in runs] for _, system, runs in measure(setting, Path())}
    floor = median(spent["pyqwest"])
    beside: list[Sequence[str]] = [(NAMES[name], spread(ms), digits(median(ms) / floor)) for name, ms in spent.items()]
    headers = ("System", "Processor time of 8 calls (ms)", "Over bare pyqwest's")
    section.tables.append((f"{str(setting).capitalize()}; medians of {setting.runs}.", headers, beside))
    section.samples |= {f"ms, {setting}, N = 8, {NAMES[name]}": ms for name, ms in spent.items()}
    what = f"processor time without a journal over bare pyqwest's, N = 8, {setting}"
    section.claims.append(Claim(what, median(spent["unjournaled"]) / floor, 2.5))


if __name__ == "__main__":
    standalone(waiting, __doc__)
