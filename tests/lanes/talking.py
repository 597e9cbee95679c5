"""A model that says and calls what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from apxm.backends.dialogue import RequestedCall
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Usage
from apxm.lanes.run import Grown, LaneRun
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.trace import Trace
from apxm.tools.toolbox import NO_TOOLS, Toolbox

SECOND = 1_000_000_000


class Talking:
    """Answers each request after a second with what `say` gives for it: a text, or calls of tools."""

    limits = Limits()
    can_reason = False
    info = BackendInfo(name="talking", kind="talking", model="none", simulated=True)

    def __init__(
        self,
        say: Callable[[ModelRequest], str | Sequence[tuple[str, str]]],
        *,
        can_see: bool = True,
        can_read_pdf: bool = True,
    ) -> None:
        self.say = say
        self.can_see = can_see
        self.can_read_pdf = can_read_pdf
        self.asked: list[ModelRequest] = []

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        self.asked.append(request)
        said = self.say(request)
        calls: tuple[RequestedCall, ...] = ()
        if not isinstance(said, str):
            said, calls = "", tuple(RequestedCall(f"c{k}", *call) for k, call in enumerate(said))
        answer = ModelAnswer(said, Usage(1, 1), calls=calls)
        return clock.call_at(clock.now() + SECOND, lambda: done(answer))

    async def close(self) -> None: ...


def talk(main: Callable[[], object], backend: Talking, tools: Toolbox = NO_TOOLS) -> tuple[LaneRun, Trace]:
    """A function in the root lane of a run on virtual time. Raises what it raises."""

    async def go() -> tuple[LaneRun, Trace]:
        run = LaneRun(Grown("main", "main.py"), main, BackendPool({"talking": backend}, "talking"), tools=tools)
        return run, await run.execute()

    run, trace = run_virtually(go())
    if run.raised is not None:
        raise run.raised
    return run, trace


def told(request: ModelRequest) -> list[Any]:
    """What the model has been told of its calls so far."""
    return [result for each in request.rounds for result in each.results]
