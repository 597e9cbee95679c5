"""Ten thousand runs in one process: memory and open files stay as they are."""

from __future__ import annotations

import asyncio
import gc
import os
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
from apxm.runtime.loops import real_loop
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from tests.plans import ask, give, merge, plan, program
from tests.servers import Server, completion

P = program(plan(ask("a"), ask("b"), merge(0, 1), give(2)))


async def run(loaded: LoadedProgram, pool: BackendPool, folder: Path, number: int) -> None:
    header = header_of(
        P, apxm="0", run_id=new_run_id(number), started=number, path="p", kind="source", flow="f", inputs=(), options={}
    )
    journal = Journal.create(folder, header, sync="normal")
    trace = await Run(loaded, P.flows[0], (), pool, recorder=Recorder(journal, "0")).execute()
    journal.close()
    journal.path.unlink()
    assert trace.value == "Fine.\nFine."


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="counts the files that are open")
@pytest.mark.parametrize("runs", [100, pytest.param(10_000, marks=pytest.mark.soak)])
def test_nothing_grows(tmp_path: Path, runs: int) -> None:
    async def main() -> tuple[int, int]:
        async with Server(completion("Fine.")) as server:
            pool = BackendPool({"b": OpenAIBackend("b", OpenAISettings(model="m", endpoint=server.endpoint), {})}, "b")
            loaded = LoadedProgram(P)

            async def batch(begin: int, count: int) -> tuple[int, int]:
                for number in range(begin, begin + count):
                    await run(loaded, pool, tmp_path, number)
                    server.received.clear()
                gc.collect()
                return tracemalloc.get_traced_memory()[0], len(os.listdir("/dev/fd"))

            tracemalloc.start()
            memory, files = await batch(0, 50)
            after, files_after = await batch(50, runs)
            tracemalloc.stop()
            return after - memory, files_after - files

    with asyncio.Runner(loop_factory=real_loop) as runner:
        grown, files = runner.run(main())
    assert grown < 200_000, "some caches fill up; ten thousand runs would fill far more"
    assert files <= 2
