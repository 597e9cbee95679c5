"""A script as a process of its own runs it for a comparison: on the simulated backend and on virtual time.

What a call is answered follows from its request and from how often its iteration made that request before, so neither
latencies nor the order of the calls change it.
"""

from __future__ import annotations

import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import msgspec

from apxm.backends.protocol import Clock, Handle, ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend
from apxm.config.invocation import Invocation
from apxm.config.selection import Selection, resolve
from apxm.errors import ApxmError, UsageError
from apxm.lanes.lane import LANE, EachRun, Lane
from apxm.lanes.run import Asked, Site
from apxm.operations.types import Value
from apxm.rewriting.promises import HERE
from apxm.runtime.attempts import Attempts
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import RankedClock, run_virtually
from apxm.runtime.waiting import Call, WaitingOperation
from apxm.scripts.heads import tell_heads
from apxm.scripts.script import Script, ScriptRun
from apxm.scripts.session import ScriptSession

T = TypeVar("T")
TOLD = "APXM_OBSERVED"
"""The variable of the environment that says what is wanted, as JSON."""
_LONGEST_MS = 2_000
_LOOK_S = 0.02
_COUNTS = re.compile(r"\[\d+\]|#\d+")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_HIDDEN = re.compile(r"(^|\.)<(locals|listcomp|setcomp|dictcomp|genexpr)>")


class Wanted(msgspec.Struct, frozen=True):
    """What is run, and how."""

    path: str
    arguments: list[str]
    each: list[str]
    overlapped: bool
    seed: int
    """Of what the model says, and of random numbers."""
    schedule: int
    """Of the latencies."""
    record: str
    """The file that says what was seen."""


class Request(msgspec.Struct, frozen=True):
    """A call that a script made."""

    iteration: str
    """That of the loops over `each` around it, such as ``label[17]``; empty outside of these."""
    place: str
    """The function that asks, and the line there, such as ``label:9``."""
    asked: dict[str, Any]
    """The request, without what is left at its default."""
    kept: bool
    """False where its iteration was thrown away, which line by line would not have begun."""


class Refusal(msgspec.Struct, frozen=True):
    """An error of ours that ended it, and says itself where and why."""

    message: str
    where: str | None
    hint: str | None
    is_usage: bool


class Observed(msgspec.Struct, frozen=True):
    """What was seen of a run, beside its output and its files."""

    requests: list[Request]
    returned: list[tuple[str, str]]
    """What flows returned that were called outside of loops over `each`, and their names."""
    raised: str
    """What the script raised; empty where it raised nothing."""
    seconds: float
    """How long it took on virtual time."""
    refusal: Refusal | None = None


class Seeded(SimulatedBackend):
    """A simulated model at random latencies; what it says is a matter of the request and of `occurrence` alone."""

    def __init__(self, simulated: SimulatedBackend, seed: int, schedule: int) -> None:
        info = simulated.info
        super().__init__(name=info.name, model=info.model, seed=seed, answers=simulated.patterns)
        self.occurrence = 0
        """How often the next request was made before."""
        self._schedule = random.Random(schedule)

    def begin_sound(
        self,
        request: ModelRequest,
        clock: Clock,
        done: Callable[[ModelAnswer], None],
        *,
        tokens: int | None = None,  # noqa: ARG002
        told: Callable[[], None] | None = None,  # noqa: ARG002
    ) -> Handle:
        latency = self._schedule.randint(1, _LONGEST_MS) * 1_000_000
        answer = self.answer(request, latency, self.occurrence)
        return clock.call_at(clock.now() + latency, lambda: done(answer))


class ObservedRun(ScriptRun):
    """Keeps each request with the iteration that made it."""

    backend: Seeded
    _plain: dict[Lane | None, list[tuple[str, int]]]
    """The loops over `each` that run as they stand, by the lane that does, with their iterations."""

    def begin_observing(self, backend: Seeded) -> None:
        self.backend = backend
        self._asked: list[tuple[Lane, str, str, dict[str, Any]]] = []
        self._returned: list[tuple[str, str]] = []
        HERE.returned = self._keep
        self._made: Counter[tuple[str, bytes]] = Counter()
        self._occurrences: dict[int, int] = {}
        self._plain = {}
        HERE.iterate = self._iterated
        HERE.prepared = tell_heads(self._iterated)

    def ask(self, lane: Lane, operation: WaitingOperation, values: list[Value], name: str, site: Site) -> Asked:
        request = operation.request(values, self._provider_of(operation).form)
        iteration = self._iteration(lane)
        made = (iteration, msgspec.msgpack.encode(request))
        self._occurrences[len(self._grown.nodes)] = self._made[made]
        self._made[made] += 1
        place = _COUNTS.sub("", site.path.rpartition("/")[2])
        self._asked.append((lane, iteration, place, {"operation": name, **_written(request)}))
        return super().ask(lane, operation, values, name, site)

    def _how_begun(self, clock: RankedClock, attempts: Attempts) -> Callable[[Call], None]:
        begin = super()._how_begun(clock, attempts)

        def begun(call: Call) -> None:
            self.backend.occurrence = self._occurrences.get(call.node, 0)
            begin(call)

        return begun

    def thread(self, lane: Lane, function: Callable[[], T]) -> T:
        del lane  # a thread takes real time
        return function()

    @property
    def on_real_time(self) -> bool:
        return True  # as far as event loops inside of lanes are concerned: see `select`

    def select(self, lane: Lane, file: int, seconds: float | None) -> None:
        # Nobody tells a virtual loop of files: who waits for one looks at it now and then.
        del file
        timer = self._loop.call_later(min(_LOOK_S, _LOOK_S if seconds is None else seconds), self.stir, lane)
        try:
            self.pause(lane)
        finally:
            timer.cancel()

    def _iteration(self, lane: Lane) -> str:
        found: list[tuple[str, int]] = []
        around: Lane | None = lane
        while around is not None:
            found += reversed(self._plain.get(around, ()))
            if around.loop is not None:
                found.append((_function(around.loop.place.rpartition(":")[0]), around.index))
            around = around.opener
        return "/".join(f"{name}[{index}]" for name, index in reversed(found))

    def _iterated(self, items: Iterable[T]) -> Generator[T]:
        """The items of an `each` that is plain iteration; while one is gone on with, calls are of its iteration."""
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - whoever goes through them
        if _feeds_lanes(frame):
            yield from items
            return
        around = self._plain.setdefault(LANE.get(), [])
        name, depth = _function(frame.f_code.co_qualname), len(around)
        try:
            for index, item in enumerate(items):
                around[depth:] = [(name, index)]
                yield item
                del around[depth:]  # what draws the next item is part of none
        finally:
            del around[depth:]

    def observed(self, seconds: float) -> Observed:
        requests = [Request(iteration, place, asked, _counts(lane)) for lane, iteration, place, asked in self._asked]
        raised = "" if self.raised is None else f"{type(self.raised).__name__}: {self.raised}"
        said = self.refusal
        refusal = None if said is None else Refusal(said.message, said.where, said.hint, isinstance(said, UsageError))
        return Observed(requests, self._returned, raised, seconds, refusal)

    def _keep(self, flow: str, value: object) -> None:
        lane = LANE.get()
        if lane is not None and not self._iteration(lane):
            self._returned.append((flow, _ADDRESS.sub("0x…", repr(value))))


def _counts(lane: Lane) -> bool:
    """Whether what a lane did is part of the run, and was not thrown away with it or with a lane around it."""
    around: Lane | None = lane
    while around is not None:
        if around.cancelled and around.loop is not None:
            return False
        around = around.opener
    return True


def _feeds_lanes(frame: FrameType | None) -> bool:
    """Whether what a frame takes becomes iterations in lanes, which say themselves what they are."""
    while frame is not None and frame.f_code is not EachRun.open_all.__code__:
        frame = frame.f_back
    return frame is not None


def _function(qualified: str) -> str:
    """The function around a comprehension; a function itself."""
    return _HIDDEN.sub("", qualified).removeprefix(".") or "<module>"


def _written(request: Any) -> dict[str, Any]:
    """A request without what is left at its default."""
    if not isinstance(request, msgspec.Struct):
        return {"request": msgspec.to_builtins(request)}
    fields = msgspec.structs.fields(request)
    given = {field.name: getattr(request, field.name) for field in fields}
    return {
        field.name: msgspec.to_builtins(given[field.name]) for field in fields if given[field.name] != field.default
    }


async def _run(wanted: Wanted) -> tuple[ObservedRun, float]:
    script = Script(wanted.path, tuple(wanted.arguments), tuple(wanted.each), overlapped=wanted.overlapped)
    told = Invocation(selection=Selection(backend="simulated", seed=wanted.seed))
    configured = resolve(told.selection)
    simulated = configured.backends[configured.default]
    assert isinstance(simulated, SimulatedBackend)
    backend = Seeded(simulated, wanted.seed, wanted.schedule)
    pool = BackendPool(dict.fromkeys(configured.backends, backend), configured.default, stands_in=True)
    random.seed(wanted.seed)
    session = ScriptSession.of(script, told, pool, configured.tools, begun=0.0, kind=ObservedRun)
    run = session.run
    assert isinstance(run, ObservedRun)
    HERE.overlap = wanted.overlapped
    run.begin_observing(backend)
    trace = await session.execute()
    return run, trace.duration / 1e9


def main(wanted: bytes) -> int:
    """Runs what is wanted, writes down what was seen, and gives the exit status."""
    told = msgspec.json.decode(wanted, type=Wanted)
    run, seconds = run_virtually(_run(told))
    Path(told.record).write_bytes(msgspec.json.encode(run.observed(seconds)))
    return run.exit_status


if __name__ == "__main__":
    try:
        sys.exit(main(os.environ.pop(TOLD).encode(errors="surrogateescape")))
    except ApxmError as error:
        sys.exit(f"error: {error}")
