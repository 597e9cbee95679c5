"""A run of a script that is ready to be executed."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from time import time
from typing import TYPE_CHECKING

from apxm.config.invocation import Invocation
from apxm.journal.ids import new_run_id
from apxm.lanes.run import Grown, LaneRun
from apxm.lanes.running import LaneSession
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.scripts.script import MAIN, Script, ScriptRun
from apxm.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from apxm.runtime.recording import Recorder  # loads SQLite, which only a journaled run needs


@dataclass(eq=False, repr=False)
class ScriptSession(LaneSession):
    """What the journal is told of a script is what the next process needs to run it again."""

    _: KW_ONLY
    script: Script
    kind: type[LaneRun] = ScriptRun

    @classmethod
    def of(
        cls,
        script: Script,
        told: Invocation,
        pool: BackendPool,
        tools: Toolbox,
        *,
        begun: float,
        recorder: Recorder | None = None,
        kind: type[ScriptRun] = ScriptRun,
    ) -> ScriptSession:
        """The run of a script; `recorder` is the journal of a run that goes on."""
        grown = Grown(MAIN, script.file, "script")
        return cls(
            LoadedProgram(grown.program), grown.flow, list(script.arguments), told, pool,
            tools=tools, run_id=new_run_id(time()) if recorder is None else recorder.run_id, recorder=recorder,
            begun=begun, grown=grown, main=script.run, noted={"script": script.noted}, script=script, kind=kind,
        )  # fmt: skip
