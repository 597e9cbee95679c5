"""The line that moves while a run goes on."""

from __future__ import annotations

from apxm.backends.protocol import Limits
from apxm.program.program import Program
from apxm.reports.progress import progress_text
from apxm.runtime.gates import Gate
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
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
