"""An endpoint as its profile describes it: a backend for runs on virtual time that nobody has to wait or pay for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heapreplace
from typing import Protocol

from apxm.analysis.profile import Profile
from apxm.backends.latency import Draws
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Usage
from apxm.backends.sharing import ProcessorSharing
from apxm.errors import BackendError
from apxm.operations.types import JSON, Type, Value

ANSWER = "\ue000predicted answer\ue000"
"""What a predicted model says. A text that holds it depends on what a real one would have said."""


class AnyList(list[Value]):
    """What stands for a list that an answer gives: nobody knows how many items it has."""


class AnyJson(dict[str, Value]):
    """What stands for a json value of which nothing is known: any field that is read of it is there, and is another."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Value:
        return self


def stand_in(expected: Type, items: int = 0) -> Value:
    """What stands for a value of a type that a model would have given; `items` is how many a list has."""
    if expected.is_list:
        return AnyList([stand_in(expected.element or JSON, items)] * items)
    if expected.is_optional:
        return None
    if expected.fields is not None:
        return {f.name: f.choices[0] if f.choices else stand_in(f.type, items) for f in expected.fields}
    return {"int": 0, "float": 0.0, "bool": False, "json": AnyJson()}.get(expected.name, ANSWER)


class Station(Protocol):
    """Where calls that are in flight together hold each other up."""

    def begin(self, work_ns: int, clock: Clock, done: Callable[[int], None]) -> Handle:
        """Starts a call that would take `work_ns` alone. `done` gets the time it took, later."""
        ...


class Queue:
    """First in, first out. A call takes its work to answer, and occupies a server for a part of that.

    At full load c calls are answered in the time s(c) · W, so the throughput is x = c/s(c) calls per W. Behind it
    stand ⌊x⌋ servers, each occupied for ⌊x⌋/x of a call's work; what is left of the work delays nobody else.
    """

    def __init__(self, profile: Profile) -> None:
        throughput = self.throughput(profile)
        servers = max(1, int(throughput + 0.1))  # it is measured: 3.95 is four
        self._occupied = servers / throughput
        self._free_at = [0] * servers

    @staticmethod
    def throughput(profile: Profile) -> float:
        """Calls that are answered per W at full load, at least 1."""
        return max(p.concurrency * profile.isolated_ms / p.service_ms for p in profile.points)

    def begin(self, work_ns: int, clock: Clock, done: Callable[[int], None]) -> Handle:
        """A call that is cancelled still has its turn: the server learns of it too late."""
        arrived = clock.now()
        start = max(arrived, self._free_at[0])
        heapreplace(self._free_at, start + round(work_ns * self._occupied))
        end = start + work_ns
        return clock.call_at(end, lambda: done(end - arrived))


class PredictedBackend:
    """Answers as slowly as the profile says; its text is `ANSWER`.

    The client is part of it: each call costs its thread `client_ms`, and calls that are sent together pay one after
    the other.
    """

    can_reason = False
    can_see = can_read_pdf = True

    def __init__(self, name: str, profile: Profile, seed: int, iteration: int) -> None:
        self.info = BackendInfo(name=name, kind="predicted", model=profile.model, simulated=True)
        self.limits = Limits(max_concurrency=profile.max_concurrency)
        self._station: Station = Queue(profile) if profile.discipline == "queue" else ProcessorSharing(profile.slowdown)
        self._work = [round(profile.isolated_ms * ratio * 1e6) for ratio in profile.ratios]
        self._client_ns = round(profile.client_ms * 1e6)
        self._client_free_at = 0
        self._draws = Draws(seed, iteration)
        tokens = None if profile.output_tokens is None else round(profile.output_tokens)
        self._usage = Usage(output_tokens=tokens)

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        work = self._draw(request)
        over = partial(self._end, done)
        if not self._client_ns:
            return self._station.begin(work, clock, over)
        self._client_free_at = max(clock.now(), self._client_free_at) + self._client_ns
        call = DelayedCall()

        def send() -> None:
            call.stage = self._station.begin(work, clock, over)

        call.stage = clock.call_at(self._client_free_at, send)
        return call

    async def close(self) -> None:
        """Nothing is held."""

    def _end(self, done: Callable[[ModelAnswer | BackendError], None], service_ns: int) -> None:
        done(ModelAnswer(ANSWER, self._usage, service_ns))

    def _draw(self, request: ModelRequest) -> int:
        if len(self._work) == 1:
            return self._work[0]
        uniform = self._draws.uniform(request.model or "", request.system_text(), request.prompt)
        return self._work[int(uniform * len(self._work))]


class DelayedCall:
    """A call on its way through the client, then at the endpoint."""

    __slots__ = ("stage",)
    stage: Handle

    def cancel(self) -> None:
        self.stage.cancel()
