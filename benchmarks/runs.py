"""What does a journal cost where many runs go on, and what do others pay to keep as much?

    python -m benchmarks.runs [--quick]

A run asks three things, two at once and one of both answers, each of which takes 20 ms: a run lasts 40 ms at least, and
64 at once end 1,600 times a second at most. *One after the other*, answers come at once, so that what is left is the
run itself. Backends are functions in this process, of which nobody waits for a network. LangGraph's graph is the same,
with `AsyncSqliteSaver` on the same file system; it commits what its library does, without waiting for the disk. So is
DBOS' workflow of three steps, with its system database in SQLite, in a process of its own: it is there where the
environment variable `DBOS_PYTHON` names a Python that has it. Turns of all systems alternate. What a commit costs is
the disk's to say: the floor is a `write` and `fdatasync` of as many bytes, and on a loaded machine a wait for the disk
is a wait for the processor. *Listing* is the whole command, its start included.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from operator import add
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Annotated, TypedDict

import apxm
from apxm.journal.ids import new_run_id
from apxm.journal.journal import Journal
from apxm.journal.rows import Answered, Ended, header_of
from apxm.runtime.loops import real_loop
from apxm.testing import ScriptedBackend
from benchmarks.floors import printed_s
from benchmarks.report import Claim, Section, caveats, digits, standalone, tell

SOURCE = """agent A { @entry flow f(q: str) -> str {
    ask(f"one {q}") -> a  ask(f"two {q}") -> b  ask(f"three {a} {b}") -> c  return c
} }"""
ANSWER = "answer " * 40
AT_ONCE = 64
ANSWERED_S = 0.02

One = Callable[[int, float], Awaitable[object]]
"""A run, by its number, whose answers take so long, in seconds."""


def ours(journals: Path | None) -> One:
    program = apxm.compile_text(SOURCE)
    pools: dict[float, apxm.BackendPool] = {}

    async def one(number: int, answered_s: float) -> object:
        pool = pools.get(answered_s)
        if pool is None:
            backend = ScriptedBackend(lambda _: ANSWER, latency_ms=lambda _: answered_s * 1e3)
            pool = pools[answered_s] = apxm.BackendPool({"s": backend}, "s")
        if journals is None:
            return await apxm.run_async(program, q=str(number), backends=pool, journal=False)
        return await apxm.run_async(program, q=str(number), backends=pool, journal=True, journal_dir=journals)

    return one


class State(TypedDict):
    q: str
    answers: Annotated[list[str], add]
    wait: float


def peer(saver: object) -> One:
    """LangGraph; with a `saver`, each run is a thread of it."""
    from langgraph.graph import END, START, StateGraph  # pyright: ignore[reportMissingTypeStubs]

    async def ask(state: State) -> dict[str, list[str]]:
        if state["wait"]:
            await asyncio.sleep(state["wait"])
        return {"answers": [ANSWER]}

    builder = StateGraph(State)
    for name in ("one", "two", "three"):
        builder.add_node(name, ask)  # pyright: ignore[reportUnknownMemberType]
    for name in ("one", "two"):
        builder.add_edge(START, name)
    builder.add_edge(["one", "two"], "three")
    builder.add_edge("three", END)
    graph = builder.compile(checkpointer=saver)  # pyright: ignore

    async def one(number: int, answered_s: float) -> object:
        told = {"configurable": {"thread_id": f"{perf_counter()}-{number}"}}
        return await graph.ainvoke({"q": str(number), "answers": [], "wait": answered_s}, told)  # pyright: ignore

    return one


async def rate(one: One, runs: int) -> tuple[float, float]:
    """Runs a second, `AT_ONCE` of them, and ms of processor time for each."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def within(number: int) -> None:
        async with slots:
            await one(number, ANSWERED_S)

    begun, processor = perf_counter(), process_time()
    await asyncio.gather(*map(within, range(runs)))
    return runs / (perf_counter() - begun), (process_time() - processor) / runs * 1e3


async def alone(one: One, runs: int) -> float:
    """ms for each of them, one after the other, in the median."""
    taken: list[float] = []
    for number in range(runs):
        begun = perf_counter()
        await one(number, 0)
        taken.append((perf_counter() - begun) * 1e3)
    return median(taken)


class Measured:
    def __init__(self) -> None:
        self.rates: list[float] = []
        self.processor: list[float] = []
        self.alone: list[float] = []


NAMES = ("A-PXM without a journal", "A-PXM", "LangGraph", "LangGraph with AsyncSqliteSaver")
DBOS = "DBOS, SQLite"


class Dbos:
    """The same on DBOS, in a process of another interpreter."""

    def __init__(self, python: str, folder: Path) -> None:
        command = [python, str(Path(__file__).with_name("dbos_system.py")), str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, runs: int, at_once: int, alone: int, found: Measured) -> None:
        """Adds what so many runs take."""
        asked, told = self._process.stdin, self._process.stdout
        assert asked is not None
        assert told is not None
        asked.write(f"{runs} {at_once} {alone}\n")
        asked.flush()
        rate, processor, one = json.loads(told.readline())
        found.rates.append(rate)
        found.processor.append(processor)
        found.alone.append(one)

    def close(self) -> None:
        self._process.communicate()


async def measure(folder: Path, times: int, runs: int) -> dict[str, Measured]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    found = {name: Measured() for name in NAMES}
    dbos = Dbos(python, folder) if (python := os.environ.get("DBOS_PYTHON")) else None
    async with AsyncSqliteSaver.from_conn_string(str(folder / "peer.db")) as saver:
        (folder / "journals").mkdir()
        systems = dict(zip(NAMES, (ours(None), ours(folder / "journals"), peer(None), peer(saver)), strict=True))
        for turn in range(times):
            for name, one in systems.items():
                tell(f"{name}: {turn + 1} of {times}")
                few = runs if name in NAMES[:2] else max(AT_ONCE, runs // 5)
                await rate(one, min(few, AT_ONCE))  # the first runs find nothing warm
                per_second, processor = await rate(one, few)
                found[name].rates.append(per_second)
                found[name].processor.append(processor)
                found[name].alone.append(await alone(one, max(3, runs // 10)))
            if dbos is not None:
                tell(f"{DBOS}: {turn + 1} of {times}")
                dbos.measure(max(AT_ONCE, runs // 10), AT_ONCE, max(3, runs // 30), found.setdefault(DBOS, Measured()))
    if dbos is not None:
        dbos.close()
    return found


def floor(folder: Path, times: int) -> float:
    """ms of a `write` and `fdatasync`, in the median."""
    taken: list[float] = []
    with open(folder / "floor", "wb", buffering=0) as file:
        for _ in range(times):
            begun = perf_counter()
            file.write(ANSWER.encode())
            os.fdatasync(file.fileno())
            taken.append((perf_counter() - begun) * 1e3)
    return median(taken)


async def fill(folder: Path, runs: int) -> None:
    """Runs that ended, as a service leaves them."""
    program = apxm.compile_text(SOURCE)

    async def one() -> None:
        header = header_of(
            program, apxm="0", run_id=new_run_id(), started=time.time(), path="three.ais", kind="source", flow="A.f",
            inputs=("q",), options={},
        )  # fmt: skip
        journal = Journal.create(folder, header, sync="normal")
        journal.start(print)
        for number in range(3):
            journal.append(Answered(f"a{number}", b"x" * 16, ANSWER, "s", 100, 100, "m"))
        journal.append(Ended("succeeded"))
        await journal.closed()

    for _ in range(0, runs, 500):
        await asyncio.gather(*(one() for _ in range(min(500, runs))))


def listed(folder: Path, runs: int, times: int) -> list[float]:
    """Seconds of `apxm runs list`."""
    asyncio.run(fill(folder, runs))
    taken: list[float] = []
    for _ in range(times):
        begun = perf_counter()
        command = [sys.executable, "-m", "apxm", "runs", "list", "--journal-dir", str(folder)]
        done = subprocess.run(command, capture_output=True, check=True)
        taken.append(perf_counter() - begun)
        assert done.stdout.count(b"\n") == runs
    return taken


def runs(quick: bool) -> Section:
    section = Section("Many runs and their journals", caveats(__doc__))
    times, count, many = (1, 64, 500) if quick else (5, 1000, 100_000)
    with TemporaryDirectory(dir=Path.cwd()) as name, asyncio.Runner(loop_factory=real_loop) as runner:
        folder = Path(name)
        bare = floor(folder, 50 if quick else 500)
        found = runner.run(measure(folder, times, count))
        (folder / "many").mkdir()
        seconds = listed(folder / "many", many, times)
        printed = median(printed_s(many) for _ in range(times))
        size = sum(path.stat().st_size for path in (folder / "many").iterdir()) / many
    without, kept, _, saved = (found[name] for name in NAMES)
    added = [a - b for a, b in zip(kept.alone, without.alone, strict=True)]
    rows: list[tuple[str, ...]] = []
    for name, measured in found.items():
        rows.append((name, *map(digits, map(median, (measured.rates, measured.processor, measured.alone)))))
        section.samples[f"runs a second, {AT_ONCE} at once, {name}"] = measured.rates
        section.samples[f"ms of processor time per run, {name}"] = measured.processor
        section.samples[f"ms, one after the other, {name}"] = measured.alone
    rows.append(("what the journal adds", "–", "–", digits(median(added))))
    rows.append(("a bare write and fdatasync", "–", "–", digits(bare)))
    section.samples[f"seconds of a list of {many} runs"] = seconds
    headers = ("System", f"Runs a second, {AT_ONCE} at once", "Processor time of one, ms", "One after the other, ms")
    section.tables.append(("Runs of three calls.", headers, list(rows)))
    about = [
        ("seconds of `apxm runs list`", digits(median(seconds))),
        ("seconds of a process that prints as many lines", digits(printed)),
        ("bytes each on the disk, their index included", digits(size)),
    ]
    section.tables.append((f"{many:,} runs that ended.", ("", ""), list(about)))
    of_rate = [a / b for a, b in zip(kept.rates, without.rates, strict=True)]
    beside = [a / b for a, b in zip(kept.rates, saved.rates, strict=True)]
    if DBOS not in found:
        section.caveats += "\n\nDBOS was not there (`DBOS_PYTHON`)."
    section.claims += [
        Claim("rate with a journal, of that without", median(of_rate), 0.8, at_least=True),
        Claim("rate, of that of LangGraph with AsyncSqliteSaver", median(beside), 15, at_least=True),
        Claim("added per run, one after the other: × a bare write and fdatasync", median(added) / bare, 15),
        Claim(f"a list of {many:,} runs: × a process that prints as many lines", median(seconds) / printed, 10),
    ]
    return section


if __name__ == "__main__":
    standalone(runs, __doc__)
