"""Ten thousand runs in one process: memory and open files stay as they are."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.journal.ids import new_run_id
from apxm.journal.journal import Journal
from apxm.journal.rows import header_of
from apxm.journal.store import store_of
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from tests.plans import ask, give, merge, plan, program
from tests.servers import Server, completion

ROOT = Path(__file__).parents[2]
WARM_UP = 200
P = program(plan(ask("a"), ask("b"), merge(0, 1), give(2)))


class Held(NamedTuple):
    blocks: int
    """Of Python's own memory: their number, since tables grow in steps that say nothing."""
    resident: int
    """Bytes; of all memory, that of libraries in other languages too."""
    files: int

    @classmethod
    def now(cls) -> Held:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        return cls(sys.getallocatedblocks(), resident, len(os.listdir("/proc/self/fd")))


async def run(loaded: LoadedProgram, pool: BackendPool, folder: Path, number: int) -> None:
    header = header_of(
        P, apxm="0", run_id=new_run_id(number), started=number, path="p", kind="source", flow="f", inputs=(), options={}
    )
    journal = Journal.create(folder, header, sync="normal")
    trace = await Run(loaded, P.flows[0], (), pool).execute(Recorder(journal, "0"))
    journal.close()
    assert trace.value == "Fine.\nFine."


async def batch(folder: Path, server: Server, begin: int, count: int) -> Held:
    """What is held after so many further runs."""
    pool = BackendPool({"b": OpenAIBackend("b", OpenAISettings(model="m", endpoint=server.endpoint), {})}, "b")
    loaded = LoadedProgram(P)
    for number in range(begin, begin + count):
        await run(loaded, pool, folder, number)
        server.received.clear()
    store_of(folder).rest()
    gc.collect()
    return Held.now()


async def grown(folder: Path, runs: int) -> Held:
    async with Server(completion("Fine.")) as server:
        before = await batch(folder, server, 0, WARM_UP)
        after = await batch(folder, server, WARM_UP, runs)
        return Held(*(late - early for late, early in zip(after, before, strict=True)))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux what the process holds")
@pytest.mark.parametrize("runs", [200, pytest.param(10_000, marks=pytest.mark.soak)])
def test_nothing_grows(tmp_path: Path, runs: int) -> None:
    """In a process of its own: what earlier tests left behind grows too."""
    code = (
        "import asyncio, pathlib\n"
        "from tests.faults.test_many_runs import grown\n"
        f"print(*asyncio.run(grown(pathlib.Path({str(tmp_path)!r}), {runs})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=900
    )
    held = Held(*map(int, done.stdout.split()))
    assert held.blocks < runs / 2 + 150, "not one object per run is left"
    assert held.resident < 8 * 2**20
    assert held.files <= 2
