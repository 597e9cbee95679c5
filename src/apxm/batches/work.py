"""What a batch does with each of its inputs: a run of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from apxm.analysis.profile import Profile
from apxm.analysis.static import Needs, analyze
from apxm.batches.columns import Columns
from apxm.batches.journals import RunJournals, journaled
from apxm.batches.output import Problem
from apxm.batches.tally import RunSummary
from apxm.config.invocation import Invocation
from apxm.errors import UsageError
from apxm.operations.types import Value
from apxm.program import codec
from apxm.program.difference import meaning_digest
from apxm.program.invocation import select_flow
from apxm.program.program import Flow, FlowParameter, Kind
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.observing import CallObserver
from apxm.runtime.trace import Status, Trace
from apxm.session import Session
from apxm.tools.toolbox import Toolbox


class Outcome(Struct, frozen=True):
    """What came of a run for one input."""

    run: RunSummary
    value: object = None
    error: Problem | None = None


class Watcher(Protocol):
    """Who wants to see the runs."""

    def observer(self, id: str) -> CallObserver | None:
        """Who is to be told of each call of the run for an input."""
        ...

    def ended(self, id: str, trace: Trace) -> None:
        """The run for an input is over."""
        ...


class Work(Protocol):
    """A program, as a batch runs it."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the journals of its runs may say that it is."""
        ...

    @property
    def parameters(self) -> Sequence[FlowParameter]: ...

    @property
    def signature(self) -> str: ...

    @property
    def identity(self) -> dict[str, Any]:
        """What its answers depend on, beside the inputs."""
        ...

    def takes(self, *, holds_text: bool, is_table: bool) -> None:
        """Tells of the rows that it will be given."""
        ...

    def arguments(self, values: Mapping[str, object]) -> Any:
        """What a row is to it. Raises `UsageError`."""
        ...

    def needs(self, arguments: Any, profile: Profile | None) -> Needs:
        """What a run will take, as far as that is known without it. Raises `UsageError` where nobody can say."""
        ...

    def session(self, arguments: Any, id: str | None = None) -> Session:
        """A run of it, which is not begun; for the input `id` where it is to be watched. Raises as `Session`."""
        ...

    async def run(self, arguments: Any, id: str) -> Outcome:
        """What comes of the input `id`. Raises what ends more than this input."""
        ...

    def keep(self, journals: RunJournals) -> None:
        """Gives all runs from here on a journal."""
        ...

    def watch(self, watcher: Watcher) -> None:
        """Shows somebody all runs from here on."""
        ...


class ProgramWork:
    """A flow of a program. The program is loaded once, and all runs share its backends and tools."""

    kinds: tuple[Kind, ...] = ("source", "artifact")

    def __init__(
        self,
        program: LoadedProgram,
        flow: Flow,
        shared: Mapping[str, Value],
        told: Invocation,
        pool: BackendPool,
        tools: Toolbox,
    ) -> None:
        self._program = program
        self._flow = flow
        self._shared = shared
        self._told = told.but({"on_error": "cancel"})  # an input that fails has no use for more answers
        self._pool = pool
        self._tools = tools
        self._journals: RunJournals | None = None
        self._watcher: Watcher | None = None

    @property
    def parameters(self) -> Sequence[FlowParameter]:
        return self._flow.parameters

    @property
    def signature(self) -> str:
        return self._flow.signature

    @property
    def identity(self) -> dict[str, Any]:
        return {"program": meaning_digest(self._program.program), "flow": self._flow.qualified_name}

    def takes(self, *, holds_text: bool, is_table: bool) -> None:
        records = self._program.program.record_types
        self._columns = Columns(self._flow, records, self._shared, holds_text=holds_text, is_table=is_table)

    def keep(self, journals: RunJournals) -> None:
        self._journals, self._told = journals, journaled(self._told)

    def watch(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def arguments(self, values: Mapping[str, object]) -> list[Value]:
        return self._columns.arguments(values)

    def needs(self, arguments: list[Value], profile: Profile | None) -> Needs:
        given = {p.name: value for p, value in zip(self._flow.parameters, arguments, strict=True)}
        found = analyze(self._program.program, self._flow, (), profile, given)
        return Needs(found.calls, found.input_tokens, found.output_tokens, found.t1_ms, found.t_inf_ms)

    async def run(self, arguments: list[Value], id: str) -> Outcome:
        session = self.session(arguments, id)
        if self._journals is not None:
            self._journals.open(session, id, self.kinds)
        trace = await executed(session, self._watcher, id)
        return Outcome(RunSummary.of(trace), trace.value, problem_of(trace))

    def session(self, arguments: list[Value], id: str | None = None) -> Session:
        told = told_of(self._told, self._watcher, id)
        return Session(self._program, self._flow, arguments, told, self._pool, tools=self._tools)


def told_of(told: Invocation, watcher: Watcher | None, id: str | None) -> Invocation:
    """What the run for an input is told, where somebody may want to see its calls."""
    return told if watcher is None or id is None else told.but({"observer": watcher.observer(id)})


async def executed(session: Session, watcher: Watcher | None, id: str) -> Trace:
    """Runs to the end; the journal is closed then. Old runs of the folder are not looked for: all are of the batch."""
    try:
        trace = await session.execute()
        if watcher is not None:
            watcher.ended(id, trace)
        return trace
    finally:
        recorder, warn = session.recorder, session.told.options.warn
        if recorder is not None and (lost := await recorder.closed()) and warn is not None:
            warn(str(lost))


def problem_of(trace: Trace) -> Problem | None:
    """Why a run did not succeed; None where it did."""
    if trace.status is Status.SUCCEEDED:
        return None
    if trace.failures:
        first = trace.failures[0]
        return Problem(first.kind, first.message, first.operation, first.where)
    stopped = trace.stopped
    return Problem(trace.status.value, "") if stopped is None else Problem(stopped.kind, stopped.message)


def program_work(
    artifact: bytes, flow: str, shared: Mapping[str, Value], told: Invocation, pool: BackendPool, tools: Toolbox
) -> ProgramWork:
    """As `ProgramWork`, of what can be pickled."""
    program = codec.decode(artifact)
    return ProgramWork(LoadedProgram(program), select_flow(program, flow), shared, told, pool, tools)


def unjournaled(told: Invocation) -> Invocation:
    """The same, of runs whose results another file keeps."""
    if told.journaling.require_journal:
        raise UsageError("the runs of a batch have no journals: its output is what is kept")
    return dataclasses.replace(told, journaling=dataclasses.replace(told.journaling, journal=False))
