"""Tools for runs on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apxm.api import compile_text
from apxm.backends.protocol import Clock, Handle
from apxm.errors import OperationError
from apxm.operations.types import Type
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.testing import ScriptedBackend
from apxm.tools.simulated import SimulatedTool, draw_fitting
from apxm.tools.tool import Tool, ToolAnswer
from apxm.tools.toolbox import Toolbox

MS = 1_000_000
Script = Mapping[str, tuple[int, Callable[[dict[str, Any]], object]]]
"""Per tool: how many ms it takes, and what it gives; an `OperationError` is its failure."""


class ScriptedTool(SimulatedTool):
    def __init__(self, name: str, script: Script, log: list[str]) -> None:
        super().__init__(name, Type("json"), 0, 0, draw_fitting)
        self.script, self.log = script, log

    def begin(self, arguments: dict[str, Any], clock: Clock, done: Callable[[Any], None]) -> Handle:
        took, give = self.script[self.name]
        self.log.append(f"{self.name}{list(arguments.values())} at {clock.now() // MS}")

        def end() -> None:
            gave = give(arguments)
            done(gave if isinstance(gave, OperationError | ToolAnswer) else ToolAnswer(gave))

        return clock.call_at(clock.now() + took * MS, end)


class ScriptedToolbox(Toolbox):
    def __init__(self, script: Script) -> None:
        super().__init__({})
        self.script = script
        self.log: list[str] = []

    def get(self, name: str, result: Type) -> Tool:
        del result
        return ScriptedTool(name, self.script, self.log)


def program_of(text: str, level: int = 1) -> Program:
    return compile_text(text, level=level)


def execute(
    program: Program, tools: Toolbox, arguments: tuple[Any, ...] = (), *, answer_ms: int = 100, **options: Any
) -> Trace:
    """Runs the entry on virtual time, its models answering `[prompt]`."""
    backend = ScriptedBackend(latency_ms=lambda _: answer_ms)
    pool = BackendPool({backend.name: backend}, backend.name)
    flow = program.flows[program.entry or 0]
    return run_virtually(Run(LoadedProgram(program), flow, arguments, pool, RunOptions(**options), tools).execute())
