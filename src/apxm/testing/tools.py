"""Tools that give what a test says, on any clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from apxm.backends.protocol import Clock, Handle
from apxm.errors import OperationError
from apxm.operations.types import Type
from apxm.testing.answers import UNSCRIPTED
from apxm.tools.simulated import SimulatedTool, ToolLatencies, draw_fitting
from apxm.tools.tool import Arguments, ToolAnswer
from apxm.tools.toolbox import SimulatedToolbox

ToolAnswers = Mapping[str, object] | Sequence[tuple[str, object]]
"""What each tool gives, by its name: a value, an `OperationError`, or a function of its arguments that gives either. In
a sequence of pairs a tool may stand several times: it then gives them in turn, and the last one goes on."""


class ScriptedTools(SimulatedToolbox):
    """Has the tools of a test; the calls of any other one fail."""

    def __init__(self, answers: ToolAnswers, latency_s: float) -> None:
        super().__init__(ToolLatencies(latency_s * 1e3))
        self._answers: dict[str, list[object]] = {}
        pairs = answers.items() if isinstance(answers, Mapping) else answers
        for name, given in cast(Sequence[tuple[str, object]], pairs):
            self._answers.setdefault(name, []).append(given)

    def get(self, name: str, result: Type) -> SimulatedTool:
        unknown = OperationError(UNSCRIPTED, f"nothing says what tool {name!r} gives")
        return _ScriptedTool(
            name, result, round(self._latencies.of(name) * 1e6), self._answers.get(name, [cast(object, unknown)])
        )


class _ScriptedTool(SimulatedTool):
    def __init__(self, name: str, result: Type, latency_ns: int, answers: list[object]) -> None:
        super().__init__(name, result, 0, latency_ns, draw_fitting)
        self._answers = answers

    def begin(self, arguments: Arguments, clock: Clock, done: Callable[[Any], None]) -> Handle:
        given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        value: object = given(arguments) if callable(given) else given
        outcome = value if isinstance(value, OperationError) else ToolAnswer(value)
        return clock.call_at(clock.now() + self._latency_ns, lambda: done(outcome))
