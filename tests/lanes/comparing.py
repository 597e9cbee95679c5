"""A flow twice: line by line, and in lanes whose calls take random times. Nobody may see a difference."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from apxm.backends.dialogue import RequestedCall
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Usage
from apxm.flows.flow import Flow
from apxm.lanes.run import Grown, LaneRun
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.trace import Trace


class Echoing:
    """Answers that depend on the request alone, after random times. Of the tools that it is offered it calls the first
    one, once, with the prompt."""

    limits = Limits()
    can_reason = False
    info = BackendInfo(name="echo", kind="echo", model="none", simulated=True)

    def __init__(self, latency: Callable[[], int]) -> None:
        self._latency = latency
        self.asked: list[str] = []

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        self.asked.append(request.prompt)
        digest = hashlib.sha256(request.prompt.encode()).hexdigest()
        text = f"{int(digest[:2], 16)} {digest[2:6]}"
        calls: tuple[RequestedCall, ...] = ()
        if request.tools and not request.rounds:
            calls = (RequestedCall("c", request.tools[0].name, json.dumps({"text": request.prompt})),)
        answer = ModelAnswer("" if calls else text, Usage(1, 1), calls=calls)
        return clock.call_at(clock.now() + self._latency(), lambda: done(answer))

    async def close(self) -> None: ...


class Seen(NamedTuple):
    """What anybody sees of a run."""

    value: object
    raised: str
    output: str
    asked: list[str]


def ran(function: Callable[[], object], latency: Callable[[], int]) -> tuple[Seen, Trace]:
    """A function in the root lane of a run on virtual time."""
    backend = Echoing(latency)

    async def go() -> tuple[LaneRun, Trace]:
        run = LaneRun(Grown("flow", "flow.py"), function, BackendPool({"echo": backend}, "echo"))
        return run, await run.execute()

    with contextlib.redirect_stdout(io.StringIO()) as output:
        run, trace = run_virtually(go())
    raised = "" if run.raised is None else f"{type(run.raised).__name__}: {run.raised}"
    return Seen(run.value, raised, output.getvalue(), sorted(backend.asked)), trace


def compared(
    make: Callable[[], tuple[Flow[..., Any], tuple[Any, ...]]], seed: int, *, may_ask_more: bool = False
) -> tuple[Trace, Trace]:
    """The traces of both; `make` makes flow and arguments afresh for each. Asserts that all that is seen is the same;
    lanes may ask what a failure, or an iteration that leaves its loop, would have prevented."""
    drawn = random.Random(seed)
    flow, arguments = make()
    random.seed(seed)
    sequential, first = ran(lambda: flow.function(*arguments), lambda: 1_000_000_000)
    flow, arguments = make()
    random.seed(seed)
    lanes, second = ran(lambda: flow.lanes(*arguments), lambda: drawn.randrange(1, 2_000_000_000))
    for name, wanted, found in zip(Seen._fields, sequential, lanes, strict=True):
        if name != "asked":
            assert found == wanted, name
    more = Counter(lanes.asked) - Counter(sequential.asked)
    assert not Counter(sequential.asked) - Counter(lanes.asked)
    assert not more or may_ask_more or sequential.raised
    return first, second


def loops_in(names: Mapping[str, object]) -> list[FunctionType]:
    """The functions of a module, given its names, that loop over `rows`."""
    functions = [each for each in names.values() if isinstance(each, FunctionType)]
    own = [each for each in functions if each.__module__ == names["__name__"]]
    return [each for each in own if each.__code__.co_varnames[:1] == ("rows",)]
