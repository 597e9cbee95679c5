"""A run on virtual time with scripted answers, and everything that it did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.errors import OperationError
from apxm.journal.rows import Answered
from apxm.operations.types import Value
from apxm.program.invocation import arguments_for, assign, select_flow
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.observing import CallObserver, Outcome
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Failure, Status, Trace
from apxm.runtime.waiting import Call
from apxm.testing.answers import Answers, Script
from apxm.testing.scripted import ScriptedBackend
from apxm.testing.tools import ScriptedTools, ToolAnswers
from apxm.tools.tool import Arguments, ToolAnswer

_NS = 1e9


@dataclass(frozen=True)
class _Made:
    operation: str
    """The operation's stable path, such as ``summary/draft``."""
    where: str
    """``file:line:column``"""
    began_s: float
    """When it was sent, in seconds from the start of the run."""
    ended_s: float
    failure: str | None
    """The kind of its failure; None where it did not fail."""


@dataclass(frozen=True)
class RehearsedToolCall(_Made):
    """One call of a tool, by the clock of its run."""

    tool: str
    arguments: Arguments
    value: object
    """What it gave; None where the call failed or was given up."""


@dataclass(frozen=True)
class RehearsedCall(_Made):
    """One call of a model, by the clock of its run."""

    request: ModelRequest
    answer: str | None
    """What was answered; None where the call failed or was given up."""

    @property
    def prompt(self) -> str:
        """The user's message, context included."""
        return self.request.prompt


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsed run did."""

    trace: Trace
    calls: tuple[RehearsedCall, ...]
    """Its model calls by when they were sent, those of one instant by their place in the text."""
    tool_calls: tuple[RehearsedToolCall, ...] = ()
    """Its calls of tools, likewise."""

    @property
    def value(self) -> Value:
        """What the flow returned. Raises `AssertionError`, with what failed, unless the run succeeded."""
        if self.status is not Status.SUCCEEDED:
            failed = [f"{f.where}: {f.operation} failed ({f.kind}): {f.message}" for f in self.failures]
            raise AssertionError("\n".join([f"the run ended as {self.status}", *failed]))
        return self.trace.value

    @property
    def status(self) -> Status:
        return self.trace.status

    @property
    def printed(self) -> list[str]:
        """The lines that the program printed, in program order."""
        return self.trace.printed

    @property
    def failures(self) -> list[Failure]:
        """The operations that failed, in the order of the text."""
        return self.trace.failures

    @property
    def duration_s(self) -> float:
        """How long it took on the virtual clock, in seconds."""
        return self.trace.duration / _NS

    def called(self, pattern: str) -> tuple[RehearsedCall, ...]:
        """The calls in whose prompt the regular expression is found."""
        return tuple(call for call in self.calls if re.search(pattern, call.prompt))


def rehearse(
    program: Program,
    arguments: Mapping[str, Value] | None = None,
    /,
    *,
    flow: str | None = None,
    answers: Answers | None = None,
    tools: ToolAnswers | None = None,
    latency_s: float = 1.0,
    max_concurrency: int | None = None,
    **values: Value,
) -> Rehearsal:
    """Runs a flow of `program`, by default its entry, on virtual time: no model, no network, and no waiting.

    The flow's parameters are given as for `apxm.run`. Each call, whichever backend it names, takes `latency_s` and is
    answered by `answers`; without them by its own prompt in brackets. Calls of tools take as long, and give what
    `tools` says. A run that fails is a rehearsal too.

    Raises `UsageError` for arguments that do not fit the flow, and for patterns that are no regular expressions.
    """
    chosen = select_flow(program, flow)
    inputs = arguments_for(chosen, assign(chosen, (), {**(arguments or {}), **values}), program.record_types)
    backend = ScriptedBackend(latency_ms=lambda _: latency_s * 1e3)
    if answers is not None:
        backend.script = Script(answers)
    pool = BackendPool({backend.name: backend}, backend.name, stands_in=True)
    told = _ToldCalls()
    options = RunOptions(max_concurrency=max_concurrency, observer=told)
    run = Run(LoadedProgram(program), chosen, inputs, pool, options, ScriptedTools(tools or {}, latency_s))
    trace = run_virtually(run.execute())
    return told.rehearsal(trace)


class _ToldCalls(CallObserver):
    """Writes down each call as a run tells of it."""

    def __init__(self) -> None:
        self._ended: list[tuple[str, Call, Any, Outcome | None, int, int]] = []

    def rehearsal(self, trace: Trace) -> Rehearsal:
        def place(ended: tuple[str, Call, Any, Outcome | None, int, int]) -> tuple[object, ...]:
            path, call, _, _, sent, _ = ended
            return sent, trace.position_of(call.frame.index, call.node), path

        calls: list[RehearsedCall] = []
        tool_calls: list[RehearsedToolCall] = []
        for path, call, request, outcome, sent, received in sorted(self._ended, key=place):
            where = trace.place_of(call.frame.index, call.node)
            began, ended = (sent - trace.started) / _NS, (received - trace.started) / _NS
            failure = outcome.kind if isinstance(outcome, OperationError) else None
            if isinstance(request, ModelRequest):
                answer = outcome.text if isinstance(outcome, ModelAnswer) else None
                calls.append(RehearsedCall(path, where, began, ended, failure, request, answer))
            else:
                value = outcome.value if isinstance(outcome, ToolAnswer) else None
                name = call.provider.name
                tool_calls.append(RehearsedToolCall(path, where, began, ended, failure, name, request, value))
        self._ended.clear()  # a call leads to its run, and that here, where the garbage collector does not look
        return Rehearsal(trace, tuple(calls), tuple(tool_calls))

    def began(self, path: str, call: Call) -> None:
        """Nothing is known yet."""

    def ended(self, path: str, call: Call, outcome: Outcome | None, duration: int | None) -> None:
        if duration is not None:  # else it was never sent
            self._ended.append((path, call, call.request, outcome, call.sent, call.sent + duration))

    def pauses(self, path: str, pause: int) -> None:
        """Says nothing of a call."""

    def reused(self, path: str, request: Any, result: Answered) -> None:
        """Never happens: there is no journal."""
