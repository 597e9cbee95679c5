"""Ten thousand runs in one process: memory and open files stay as they are."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.settings import OpenAISettings
from apxm.journal.ids import new_run_id
from apxm.journal.journal import Journal
from apxm.journal.model import header_of
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from tests.plans import ask, give, merge, plan, program
from tests.servers import Server, completion

ROOT = Path(__file__).parents[2]
P = program(plan(ask("a"), ask("b"), merge(0, 1), give(2)))


async def run(loaded: LoadedProgram, pool: BackendPool, folder: Path, number: int) -> None:
    header = header_of(
        P, apxm="0", run_id=new_run_id(number), started=number, path="p", kind="source", flow="f", inputs=(), options={}
    )
    journal = Journal.create(folder, header, sync="normal")
    trace = await Run(loaded, P.flows[0], (), pool).execute(Recorder(journal, "0"))
    journal.close()
    journal.path.unlink()
    assert trace.value == "Fine.\nFine."


async def batch(folder: Path, server: Server, begin: int, count: int) -> tuple[int, int]:
    """Bytes and open files after so many further runs."""
    pool = BackendPool({"b": OpenAIBackend("b", OpenAISettings(model="m", endpoint=server.endpoint), {})}, "b")
    loaded = LoadedProgram(P)
    for number in range(begin, begin + count):
        await run(loaded, pool, folder, number)
        server.received.clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0], len(os.listdir("/dev/fd"))


async def grown(folder: Path, runs: int) -> tuple[int, int]:
    async with Server(completion("Fine.")) as server:
        tracemalloc.start()
        memory, files = await batch(folder, server, 0, 50)
        after, files_after = await batch(folder, server, 50, runs)
        return after - memory, files_after - files


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="counts the files that are open")
@pytest.mark.parametrize("runs", [100, pytest.param(10_000, marks=pytest.mark.soak)])
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
    memory, files = map(int, done.stdout.split())
    assert memory < 200_000, "some caches fill up; ten thousand runs would fill far more"
    assert files <= 2
