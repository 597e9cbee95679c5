"""What a run is told, and the session that runs by it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

import apxm
from apxm.backends.simulated import SimulatedBackend
from apxm.cli.options import AnyRun, Inputs, NewRun
from apxm.config.invocation import Invocation
from apxm.config.journal_settings import Journaling
from apxm.config.selection import Selection
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.session import Session

SAID = {f.name: f.default for part in (Selection, RunOptions, Journaling) for f in fields(part)} | {
    "flow": None,
    "config": None,
}
"""By what name a run is told something, and what holds where it is not."""
NO_PART = {"program", "arguments", "values", "backends", "tools", "run_id", "as_recorded", "edited", "redo", "assume"}
"""What a function takes beside what it tells a run."""
SHOWN = {"otel", "trace_file", "values", "arg", "args", "emit_metrics", "stream", "json", "quiet", "verbose"}
"""What a command takes beside what it tells a run."""


def defaults_of(function: Callable[..., object]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("function", [apxm.run_async, apxm.resume_async, apxm.preview_resume])
def test_every_keyword_of_the_python_api_says_something_to_a_run(function: Callable[..., object]) -> None:
    said = {name: default for name, default in defaults_of(function).items() if name not in NO_PART}
    assert all(default in (None, SAID[name]) for name, default in said.items())


def test_every_option_of_the_command_line_says_something_to_a_run() -> None:
    said = {f.name: f.default for group in (Inputs, NewRun, AnyRun) for f in fields(group) if f.name not in SHOWN}
    assert all(default in (None, SAID[name]) for name, default in said.items())
    keywords = defaults_of(apxm.run_async).keys() - NO_PART - {"output", "on_text", "budget"}
    assert said.keys() == keywords


def test_what_is_not_said_is_as_if_nobody_had_spoken_of_it() -> None:
    assert Invocation.of({"seed": None, "json": True, "on_error": None}) == Invocation()
    told = Invocation.of({"seed": 7, "journal": False, "flow": "A.f"})
    assert (told.selection.seed, told.options.seed, told.journaling.journal, told.flow) == (7, 7, False, "A.f")
    assert told.but({"max_concurrency": 3, "seed": None}).options == RunOptions(max_concurrency=3, seed=7)


def test_a_session_runs_and_measures() -> None:
    program = apxm.compile_text('agent A { @entry flow f() -> str { return ask("x") } }')
    pool = apxm.BackendPool({"simulated": SimulatedBackend(latency="constant:1000")}, "simulated")

    async def run() -> apxm.Result:
        session = Session(LoadedProgram(program), program.flows[0], (), Invocation(), pool)
        session.open_journal(pytest.fail)
        session.prepared()
        result = session.result(await session.execute())
        assert (session.recorder, session.close(), session.lost) == (None, None, None)
        return result

    result = run_virtually(run())
    assert result.status is apxm.Status.SUCCEEDED
    assert (result.metrics.execution.duration_ms, result.backend.name) == (1000, "simulated")
