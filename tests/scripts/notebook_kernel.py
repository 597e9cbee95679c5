"""What a notebook's kernel is told before its first cell: its flows run on virtual time, at a second a call."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from apxm.flows.flow import Flow
from apxm.lanes.run import Grown, LaneRun
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.trace import Trace
from tests.scripts.answers import Answering

_BACKEND = Answering()
_SECONDS: list[float] = []


def begin(*, lanes: bool) -> None:
    """Lets flows run in lanes, or as they are written."""

    async def run_async(flow: Flow[..., Any], *arguments: Any) -> Any:
        code = flow.lanes if lanes else flow.function

        async def go() -> tuple[LaneRun, Trace]:
            pool = BackendPool({"answering": _BACKEND}, "answering")
            run = LaneRun(Grown(flow.function.__name__, "notebook"), lambda: code(*arguments), pool)
            return run, await run.execute()

        run, trace = await asyncio.to_thread(run_virtually, go())
        _SECONDS.append(trace.duration / 1e9)
        if run.raised is not None:
            raise run.raised
        return SimpleNamespace(value=run.value)

    Flow.run_async = run_async  # type: ignore[method-assign, assignment]


def end() -> None:
    """Prints how long the flows took, and what they asked."""
    print(json.dumps([sum(_SECONDS), sorted(_BACKEND.asked)]))
