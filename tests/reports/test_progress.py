"""The line that moves while a run goes on."""

from __future__ import annotations

import asyncio

from apxm.backends.protocol import Limits
from apxm.program.program import Program
from apxm.reports.progress import progress_text
from apxm.runtime.gates import Gate
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.progress import Progress
from apxm.runtime.scheduler import Run
from apxm.testing import ScriptedBackend
from tests.plans import ask, merge, plan, program


def test_it_shows_the_limits_that_are_found() -> None:
    progress = Progress(3, 8, 2, 12_000_000_000, 1234, 0.0021, (64, 1024))
    whole = "3 done, 8 running, 2 waiting; 0:12; at most 64, 1,024 at once; 1,234 tokens; cost 0.0021"
    assert progress_text(progress, 100) == whole
    assert progress_text(progress, 60) == "3 done, 8 running, 2 waiting; 0:12"
    assert progress_text(progress._replace(found=()), 100) == whole.replace("at most 64, 1,024 at once; ", "")


def test_failures_are_told() -> None:
    assert progress_text(Progress(3, 8, 2, 0, failed=1), 100) == "3 done, 1 failed, 8 running, 2 waiting; 0:00"


def test_what_takes_longest_is_told_of_those_that_were_sent_first() -> None:
    backend = ScriptedBackend(latency_ms=lambda request: 4000 if request.prompt != "Task 1" else 1000)
    loaded = LoadedProgram(wide())
    run = Run(
        loaded,
        loaded.program.flows[0],
        (),
        BackendPool({"scripted": backend}, "scripted"),
        RunOptions(max_concurrency=2),
    )
    seen: list[tuple[list[tuple[str, float]], str]] = []

    async def main() -> None:
        def look() -> None:
            longest = [(each.path, each.since_ns / 1e9) for each in run.longest(5)]
            seen.append((longest, progress_text(run.progress(), 100)))

        for second in (0.5, 2.5, 4.5):
            asyncio.get_running_loop().call_later(second, look)
        await run.execute()

    assert run.longest(5) == []
    run_virtually(main())
    (first, _), (second, text), (third, _) = seen
    assert [seconds for _, seconds in first] == [0.5, 0.5]
    assert [seconds for _, seconds in second] == [2.5, 1.5]
    assert [seconds for _, seconds in third] == [3.5]
    assert first[0] == (second[0][0], 0.5)
    assert text.startswith("1 done, 2 running, 0 waiting; 0:02")
    assert run.longest(5) == []


def wide() -> Program:
    return program(plan(*[ask(f"Task {i}") for i in range(3)], merge(0, 1, 2)))


def test_a_run_tells_those_of_backends_that_it_has_asked() -> None:
    backend = ScriptedBackend()
    pool = BackendPool({"scripted": backend}, "scripted")
    pool.gates["scripted"] = Gate("scripted", Limits(), adaptive=True)
    loaded = LoadedProgram(wide())
    run = Run(loaded, loaded.program.flows[0], (), pool)
    assert run.progress().found == ()
    run_virtually(run.execute())
    assert run.progress().found == (1024,)
