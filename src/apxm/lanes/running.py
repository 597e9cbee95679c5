"""Runs of flows, from what they are told to what comes of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from time import perf_counter, time
from typing import Any, cast

from apxm.api import executed, opened, warn, watched
from apxm.config.invocation import Invocation
from apxm.errors import Problems
from apxm.journal.ids import new_run_id
from apxm.lanes.run import Grown, LaneRun
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.scheduler import Run
from apxm.session import Result, Session

logger = logging.getLogger("apxm")


@dataclass(eq=False, repr=False)
class LaneSession(Session):
    """A run of a flow that is ready to be executed."""

    _: KW_ONLY
    grown: Grown
    main: Callable[[], object]
    as_changed: bool = False

    def new_run(self) -> Run:
        return LaneRun(
            self.grown, self.main, self.pool, self.told.options, self.tools, as_changed=self.as_changed
        )  # fmt: skip

    @property
    def raised(self) -> BaseException | None:
        """What the flow raised."""
        return cast(LaneRun, self.run).raised


async def run_flow(
    main: Callable[[], object], name: str, file: str, said: Mapping[str, Any], earlier: str | None = None
) -> Result:
    """Runs `main`, a flow with its arguments, in the caller's event loop; `said` are the options of a run, as
    `apxm.run` has them, and `earlier` is the run that it goes on with.

    Raises what the flow raises, with a note that names the run where it was journaled; and what `apxm.run` raises.
    """
    begun = perf_counter()
    told = Invocation.of({**said, "warn": warn})
    grown = Grown(name, file)
    as_changed = bool(said.get("as_changed"))
    recorder, run_id = None, new_run_id(time())
    if earlier is not None:
        from apxm.journaling import reopen

        found = reopen(earlier, told.journaling, as_recorded=True)
        recorder, run_id = found.recorder, found.recorder.run_id
        told = found.told.but(said)
    told = watched(told, run_id)
    async with opened(said.get("backends"), told.selection, None, Problems()) as (pool, toolbox):
        session = LaneSession(
            LoadedProgram(grown.program), grown.flow, (), told, pool, tools=toolbox, run_id=run_id, recorder=recorder,
            begun=begun, grown=grown, main=main, as_changed=as_changed,
        )  # fmt: skip
        await session.link()
        if recorder is None:
            session.open_journal(warn)
        try:
            return await executed(session)
        except BaseException as error:
            raised = session.raised
            if raised is None:
                raise
            if session.recorder is not None:
                raised.add_note(f"run {run_id}: what was answered is kept; {name}.resume({run_id!r}, …) goes on")
            raise raised from (error.__cause__ if raised is error else None)
