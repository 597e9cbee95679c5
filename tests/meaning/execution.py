"""A run of the product on virtual time, with the answers of `answers`, in whatever order they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from apxm.backends.dialogue import RequestedCall
from apxm.backends.protocol import Clock, Handle, ModelAnswer, ModelRequest
from apxm.errors import BackendError, OperationError
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import History, header_of
from apxm.operations.types import Type
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop, run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.testing import ScriptedBackend
from apxm.tools.simulated import SimulatedTool, draw_fitting
from apxm.tools.tool import Tool, ToolAnswer
from apxm.tools.toolbox import Toolbox
from tests.meaning.answers import answer, calls, tool
from tests.meaning.interpreter import called
from tests.meaning.values import Failed

LATENCIES_MS = (0, 0, 1, 10, 100)
RUN = "20260131-235959-k3vd"


def said(request: ModelRequest) -> str | ModelAnswer | BackendError:
    if request.offers and (found := calls(request.dialogue, [tool.name for tool in request.tools])):
        called = [RequestedCall(str(k), name, json.dumps(given)) for k, (name, given) in enumerate(found)]
        return ModelAnswer("", calls=tuple(called))
    value = answer(request.dialogue, request.system, request.temperature)
    if isinstance(value, Failed):
        return BackendError(value.kind, "no", retryable=False)
    return value if request.answer is None else json.dumps(value)


def backend(random: Random) -> ScriptedBackend:
    return ScriptedBackend(said, latency_ms=lambda _request: random.choice(LATENCIES_MS))


class Tools(Toolbox):
    """Tools that take any time, and tell when one runs beside another that changes something."""

    def __init__(self, random: Random) -> None:
        super().__init__({})
        self.random = random
        self.changed: list[str] = []
        """The calls that change something, as they began."""
        self.beside: list[str] = []
        """The calls that began beside a call that changes something, or beside any where they do so themselves."""
        self.reading = 0
        self.changing = 0

    def get(self, name: str, result: Type) -> Tool:
        return TimedTool(name, result, self)


class TimedTool(SimulatedTool):
    def __init__(self, name: str, result: Type, tools: Tools) -> None:
        super().__init__(name, result, 0, 0, draw_fitting)
        self.tools = tools

    def begin(self, arguments: dict[str, Any], clock: Clock, done: Callable[[Any], None]) -> Handle:
        tools, changes = self.tools, int(self.name != "look")
        if tools.changing or (changes and tools.reading):
            tools.beside.append(called(self.name, arguments))
        tools.changing += changes
        tools.reading += 1 - changes
        if changes:
            tools.changed.append(called(self.name, arguments))

        def end() -> None:
            tools.changing -= changes
            tools.reading -= 1 - changes
            gave = tool(self.name, arguments)
            done(OperationError(gave.kind, "no") if isinstance(gave, Failed) else ToolAnswer(gave))

        return clock.call_at(clock.now() + tools.random.choice(LATENCIES_MS) * 1_000_000, end)


def run_of(program: Program, arguments: Sequence[object], random: Random, options: RunOptions) -> tuple[Run, Tools]:
    model, tools = backend(random), Tools(random)
    assert program.entry is not None
    pool = BackendPool({model.name: model}, model.name)
    return Run(LoadedProgram(program), program.flows[program.entry], arguments, pool, options, tools), tools


def execute(program: Program, arguments: Sequence[object], random: Random, options: RunOptions) -> tuple[Trace, Tools]:
    run, tools = run_of(program, arguments, random, options)
    return run_virtually(run.execute()), tools


def resumed(program: Program, arguments: Sequence[object], random: Random, folder: Path) -> Trace:
    """The run that goes on with a part of the journal of a whole one."""
    header = header_of(
        program, apxm="0", run_id=RUN, started=0, path="p", kind="source", flow="f", inputs=arguments, options={}
    )
    for name in ("whole", "part"):
        (folder / name).mkdir(parents=True)
    journaled(program, arguments, random, Journal.create(folder / "whole", header), None)
    whole = read(folder / "whole", RUN)
    part = History(header)
    for record in whole.records[: random.randrange(len(whole.records))]:
        part.add(record)
    return journaled(program, arguments, random, Journal.create(folder / "part", header), part)


def journaled(
    program: Program, arguments: Sequence[object], random: Random, journal: Journal, history: History | None
) -> Trace:
    run, _ = run_of(program, arguments, random, RunOptions())
    try:
        with asyncio.Runner(loop_factory=real_loop) as runner:
            return runner.run(run.execute(Recorder(journal, "0", history)))
    finally:
        journal.close()
