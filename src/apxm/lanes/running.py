"""Runs of flows, from what they are told to what comes of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import KW_ONLY, dataclass
from inspect import Parameter, signature
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import msgspec
from greenlet import getcurrent
from msgspec.structs import replace

from apxm.analysis.metrics import LinkPhases
from apxm.api import RunFailed, by_name, executed, opened, refuse_no_new_id, run_async, warn, watched
from apxm.config.invocation import Invocation, Kinds, refuse_kinds
from apxm.errors import JournalError, Problems, UsageError, hint_for
from apxm.journal.ids import new_run_id
from apxm.lanes.edits import GOES_ON, EditedError, has_moved, noted
from apxm.lanes.lane import LANE, Lane
from apxm.lanes.run import RUN, Grown, LaneRun
from apxm.lanes.shown import shown
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.scheduler import Run
from apxm.session import Result, Session, milliseconds

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs

logger = logging.getLogger("apxm")

TRANSPORTS: WeakSet[Any] = WeakSet()
"""Those for SDKs that there are in this process: while there are any, flows may ask whom no configuration names."""


def lane_here() -> Lane | None:
    """The lane that runs this; None in other threads, whatever context they have, and in greenlets of others."""
    lane = LANE.get()
    return lane if lane is not None and getcurrent() is lane.greenlet else None


@dataclass(eq=False, repr=False)
class LaneSession(Session):
    """A run of a flow that is ready to be executed."""

    in_lanes = True
    _: KW_ONLY
    grown: Grown
    main: Callable[[], object]
    kind: type[LaneRun] = LaneRun
    when_journaled: Callable[[], object] = lambda: None
    """Called where its journal is opened while it runs."""

    def new_run(self) -> Run:
        run = self.kind(self.grown, self.main, self.pool, self.told.options, self.tools)
        run.run_id = self.run_id
        run.simulates = self.told.selection.backend is not None and self.pool.info.simulated
        return run

    @property
    def may_ask_anybody(self) -> bool:
        """Whether it may ask whom no configuration names."""
        return bool(TRANSPORTS)

    @property
    def wants_journal(self) -> bool:
        """As of any run; one that may ask anybody has a journal."""
        asks = self.told.journaling.journal is None and self.may_ask_anybody and not self.flow_run.simulates
        return asks or super().wants_journal

    @property
    def first_program(self) -> Program:
        origin = self.grown.program.origin
        assert origin is not None
        return Grown(self.grown.flow.name, *origin).program

    def open_journal(self, warn: Callable[[str], None]) -> None:
        """As of any run. Whom Python asks is known when it does: where nothing is said of a journal, a run that is
        simulated so far has one from the first real call on."""
        if self.wants_journal or self.told.journaling.journal is not None:
            super().open_journal(warn)
            return

        def late() -> Recorder | None:
            journaling = dataclasses.replace(self.told.journaling, journal=True)
            self.told = dataclasses.replace(self.told, journaling=journaling)
            self.open_journal(warn)
            self.when_journaled()
            return self.recorder

        self.flow_run.late_journal = late

    @property
    def flow_run(self) -> LaneRun:
        return cast(LaneRun, self.run)

    @property
    def raised(self) -> BaseException | None:
        """What the flow raised."""
        return self.flow_run.raised


def part(main: Callable[[], object], name: str, said: Mapping[str, Any]) -> Result:
    """Runs `main`, a flow with its arguments, in the lane here, as part of the run of that: its limits and its backends
    hold, and not what is `said`. Raises what the flow raises; `UsageError` where it asks for another backend."""
    lane, run = LANE.get(), RUN.get()
    assert lane is not None
    refuse_own(name, said)
    begun = perf_counter()
    trace = run.part(lane, name, main)
    phases = LinkPhases(runtime_ms=milliseconds(perf_counter() - begun))
    return Result(trace, phases, replace(run.backends[0], description=""), run.run_id)


def refuse_own(name: str, said: Mapping[str, Any]) -> None:
    """Raises `UsageError` where the flow `name`, which is part of the run here, is told what no run can be told, or
    says another backend than that run has: to ignore it would be to pay somebody else."""
    refuse_unknown(said)
    own = sorted(said.keys() & _BACKENDS)
    if own and (own != ["backend"] or said["backend"] != RUN.get().backends[0].name):
        raise UsageError(
            f"the flow {name} runs as part of another run, and says `{own[0]}` of its own",
            hint="say it of the run that this is part of: a command has `--backend`, `--model` and `--config`",
        )


_BACKENDS = {"backend", "backends", "config", "model"}
_NOT_YET = {"flow", "output", "on_text"}
"""Options of `apxm.run` that mean nothing to flows, or that these do not have yet."""
_OPTIONS = {
    name for name, parameter in signature(run_async).parameters.items() if parameter.kind is Parameter.KEYWORD_ONLY
} - _NOT_YET | {"as_changed", "assume", "progress", "redo", "run_id"}


def refuse_unknown(said: Mapping[str, Any]) -> None:
    """Raises `UsageError` where something is said that no run of a flow can be told."""
    if unknown := sorted(said.keys() - _OPTIONS):
        hint = hint_for(unknown[0], _OPTIONS, f"there are: {', '.join(sorted(_OPTIONS))}")
        raise UsageError(f"a flow has no option {unknown[0]!r}", hint=hint)


_LISTS = (list, tuple, set, frozenset)
_KINDS: Kinds = {
    "as_changed": ((bool,), "True or False"),
    "assume": ((Mapping,), "a dict of paths and values"),
    "backends": ((BackendPool,), "an apxm BackendPool"),
    "progress": ((bool,), "True or False"),
    "redo": (_LISTS, "a list of paths"),
    "run_id": ((str,), "a text, as apxm.new_run_id() gives it"),
    "tools": ((Mapping, *_LISTS), "a list of functions, or a dict of them by their names"),
}


def refuse_options(said: Mapping[str, Any]) -> None:
    """As `refuse_unknown`, and for values that no such option has, as far as that can be told without a
    configuration."""
    refuse_unknown(said)
    refuse_kinds(said, _KINDS)
    Invocation.of(said)


async def run_flow(
    main: Callable[[], object],
    name: str,
    file: str,
    said: Mapping[str, Any],
    earlier: str | None = None,
    again: str = "",
    *,
    shows: bool = False,
) -> Result:
    """Runs `main`, a flow with its arguments, in the caller's event loop; `said` are the options of a run, as
    `apxm.run` has them, and `earlier` is the run that it goes on with; `again` is what goes on with this one. `shows`
    says that somebody waits for it, who may be shown how far it is.

    Raises what the flow raises, with a note that names the run where it was journaled; and what `apxm.run` raises.
    """
    begun = perf_counter()
    refuse_unknown(said)
    if "run_id" in said:
        _check_new_id(said["run_id"], earlier)
        said = {**said, "require_journal": True}  # the id is to find it by
    told = Invocation.of({**said, "warn": warn})
    grown = Grown(name, file)
    recorder, run_id = None, said.get("run_id") or new_run_id(time())
    async with AsyncExitStack() as stack:
        if earlier is not None:
            from apxm.journaling import reopen  # loads SQLite, which only a journaled run needs

            redo, assume = said.get("redo", ()), said.get("assume")
            found = reopen(earlier, told.journaling, redo=redo, assume=assume, kinds=("flow",))
            recorder, run_id = stack.enter_context(closing(found.recorder)), found.recorder.run_id
            if found.flow.name != name:
                raise JournalError(f"run {run_id} is one of the flow {found.flow.name}, not of {name}")
            before = msgspec.convert(found.noted.get("source", {}), dict[str, Any])
            try:
                if said.get("as_changed") or has_moved(before, noted(file)):
                    recorder.as_changed()
            except EditedError:
                raise JournalError(
                    f"the file of the flow was edited since run {run_id} began",
                    where=file,
                    hint=f"as_changed=True {GOES_ON}",
                ) from None
            told = found.told.but(said)
        told = watched(told, run_id)
        opening = opened(said.get("backends"), told.selection, by_name(said.get("tools")), Problems())
        pool, toolbox = await stack.enter_async_context(opening)
        session = LaneSession(
            LoadedProgram(grown.program), grown.flow, (), told, pool, tools=toolbox, run_id=run_id, recorder=recorder,
            begun=begun, grown=grown, main=main,
            noted={} if told.journaling.journal is False else {"source": dict(noted(file))},
        )  # fmt: skip
        await session.link()
        if recorder is None:
            session.open_journal(warn)
        await stack.enter_async_context(shown(session.flow_run, wanted=shows and said.get("progress") is not False))
        try:
            return await executed(session)
        except RunFailed:
            raised = session.raised
            if raised is None:
                raise
    # Raised out here: in there it would seem to come of what is only our word for it.
    if session.recorder is not None:
        raised.add_note(f"run {run_id}: what was answered is kept; {again.format(run=run_id)} goes on")
    raise raised


def _check_new_id(run_id: str, earlier: str | None) -> None:
    if earlier is not None:
        hint = "apxm.new_run_id() gives one for a new run"
        raise UsageError(f"run {earlier} goes on, and has its id already", hint=hint)
    refuse_no_new_id(run_id)
