"""What does a row of the journal cost, and how long does a result wait until it is on the disk?

    python -m benchmarks.journal [--quick]

Rows are answers of 1,000 characters on the file system of the working directory, on the event loop that runs use. *One
at a time*: each is appended when the callback of the last one came, as in a chain of calls. *64 at once*: as many are
always waiting, as in a fan-out. Processor time is the whole process's, the system's share and the callbacks of this
script included. The floor is a bare `write` and `fsync` of as many bytes: a commit cannot be sooner than the disk, and
on a disk whose `fsync` returns at once, as on many virtual ones, these numbers say little about another.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, time

from apxm.errors import JournalError
from apxm.journal.ids import new_run_id
from apxm.journal.journal import Journal
from apxm.journal.rows import Answered, header_of
from apxm.journal.store import Sync
from apxm.runtime.loops import real_loop
from benchmarks.floors import bare_task_us
from benchmarks.graphs import fan_out
from benchmarks.report import Claim, Section, caveats, digits, standalone, tell

ANSWER = "answer " * 143
TOGETHER = 64


class Measured:
    """Waits from append to callback, in ms, and processor time per row, in µs."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.processor: list[float] = []


async def append(journal: Journal, rows: int, at_once: int) -> list[float]:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    waits: list[float] = []
    left = rows

    def one() -> None:
        nonlocal left
        left -= 1
        journal.append(
            Answered(f"main/a{left}", b"x" * 32, ANSWER, "openai", 100, 250), committed_after(perf_counter())
        )

    def committed_after(appended: float) -> Callable[[], None]:
        def committed() -> None:
            waits.append((perf_counter() - appended) * 1e3)
            if left:
                one()
            elif len(waits) == rows:
                done.set_result(None)

        return committed

    for _ in range(at_once):
        one()
    await done
    return waits


async def measure(folder: Path, rows: int, at_once: int, sync: Sync, times: int) -> Measured:
    measured = Measured()
    program = fan_out("ask", 4)
    for turn in range(times):
        tell(f"{rows} rows, {at_once} at once, {sync}: {turn + 1} of {times}")
        now = time()
        header = header_of(
            program,
            apxm="benchmark",
            run_id=new_run_id(now),
            started=now,
            path="fan_out.ais",
            kind="source",
            flow=program.flows[0].qualified_name,
            inputs=(),
            options={},
        )
        with closing(Journal.create(folder, header, sync=sync)) as journal:
            journal.start(stop)
            await append(journal, min(rows, 100), at_once)  # the first rows find nothing warm
            begun = process_time()
            waits = await append(journal, rows, at_once)
            measured.processor.append((process_time() - begun) / rows * 1e6)
            measured.waits += waits
    return measured


def stop(error: JournalError) -> None:
    raise error


def floor(folder: Path, times: int) -> list[float]:
    """Of a bare `write` and `fsync`, in ms."""
    found: list[float] = []
    with open(folder / "floor", "wb", buffering=0) as file:
        for _ in range(times):
            begun = perf_counter()
            file.write(ANSWER.encode())
            os.fsync(file.fileno())
            found.append((perf_counter() - begun) * 1e3)
    return found


def tail(samples: list[float]) -> float:
    """The 95th percentile."""
    return quantiles(samples, n=20)[-1]


def journal(quick: bool) -> Section:
    section = Section("The journal", caveats(__doc__))
    times, single, many = (1, 20, 200) if quick else (5, 400, 6_400)
    rows: list[tuple[str, ...]] = []
    with TemporaryDirectory(dir=Path.cwd()) as name, asyncio.Runner(loop_factory=real_loop) as runner:
        folder = Path(name)
        bare = floor(folder, times * single)
        rows.append(("a bare write and fsync", "–", digits(median(bare)), digits(tail(bare))))
        syncs: tuple[Sync, Sync] = ("full", "normal")
        found = {
            (sync, at_once): runner.run(measure(folder, count, at_once, sync, times))
            for sync in syncs
            for at_once, count in ((1, single), (TOGETHER, many))
        }
    for (sync, at_once), measured in found.items():
        what = f"{sync}, {'one at a time' if at_once == 1 else f'{at_once} at once'}"
        cost = median(measured.processor)
        rows.append((what, digits(cost), digits(median(measured.waits)), digits(tail(measured.waits))))
        section.samples[f"us of processor time per row, {what}"] = measured.processor
        section.samples[f"ms from append to callback, {what}"] = measured.waits[:: max(1, len(measured.waits) // 1000)]
    section.samples["ms, bare write and fsync"] = bare
    headers = ("Journal", "Processor time, µs", "Wait, median, ms", "Wait, 95th percentile, ms")
    section.tables.append(("Per row.", headers, list(rows)))
    together, alone = found["full", TOGETHER], found["full", 1]
    section.claims += [
        Claim(
            f"processor time per row, {TOGETHER} at once, full: × a bare task",
            median(together.processor) / bare_task_us(),
            16,
        ),
        Claim(
            "added between two dependent steps, full, median: × a bare write and fsync",
            median(alone.waits) / median(bare),
            15,
        ),
    ]
    return section


if __name__ == "__main__":
    standalone(journal, __doc__)
