"""Runs a scenario, on virtual time: with the real scheduler, its slots, gates and retries. What attempts bring, and who
does them, is a model."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from apxm.advice.measured import JOIN, NOBODY
from apxm.advice.scenario import Scenario, Try
from apxm.advice.station import Station
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, Usage
from apxm.errors import BackendError, InternalError, OperationError
from apxm.operations.answers import OF_NO_USE
from apxm.operations.types import Value
from apxm.program.expressions import Literal
from apxm.program.nodes import Compute, Operate
from apxm.program.program import AnyNode, Flow, Names, NodeName, Plan, PlanNames, Program
from apxm.runtime.failures import EndpointFailures
from apxm.runtime.gates import Gate
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import RankedClock, run_virtually_apart
from apxm.runtime.options import RunOptions
from apxm.runtime.retries import RATE_LIMITED
from apxm.runtime.scheduler import Run
from apxm.runtime.waiting import Binding, Call, Provider, WaitingOperation

_SMALL = 0.002
"""What an operation waits for its own code counts as part of its first attempt where it is this small a part of it."""
_AS_IT_WAS = "as it was"
"""The message of a failure that was measured; one that follows from a law has none."""
_CODE = "code"
Done = Callable[[object], None]


class Rerun(NamedTuple):
    duration: int
    """In ns."""
    hedged: tuple[int, ...]
    """The nodes for which a second call was made."""
    most: tuple[int, ...]
    """The most calls in flight, by endpoint."""


def rerun(scenario: Scenario) -> Rerun:
    """May be called inside a running event loop, which then stands still."""
    world = _World(scenario)
    options = RunOptions(max_concurrency=scenario.max_concurrency, seed=scenario.seed)
    run = Run(LoadedProgram(world.program, world.handler), world.program.flows[0], (), world.pool(), options)
    trace = run_virtually_apart(run.execute())
    return Rerun(trace.duration + scenario.tail, tuple(world.hedged), tuple(each.most for each in world.stations))


class _World:
    """A scenario as a program, and those who do its operations."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.stations = [Station(law, scenario.walls.get(i)) for i, law in enumerate(scenario.laws)]
        self.hedged: list[int] = []
        self.begun = [0] * len(scenario.run.nodes)
        """How many attempts each node has made, but for those that a wall refused."""
        nodes: list[AnyNode] = []
        places: list[int] = []
        for number, node in enumerate(scenario.run.nodes):
            after = tuple(places[other] for other in scenario.behind[number])
            if node.place == JOIN:
                nodes.append(Compute(after=after, value=Literal(None)))
            else:
                if self.waits_apart(number):
                    nodes.append(Operate(operation=f"{_CODE} {number}", after=after, priority=node.rank))
                    after = (len(nodes) - 1,)
                nodes.append(Operate(operation=f"{number}", after=after, priority=node.rank))
            places.append(len(nodes) - 1)
        names = PlanNames(path="", nodes=(NodeName(path=""),) * len(nodes))
        self.program = Program(
            plans=(Plan(nodes=tuple(nodes), inputs=0, outputs=()),),
            flows=(Flow(agent="", name="rerun", parameters=(), result=None, plan=0),),
            entry=0,
            optimization_level=0,
            names=Names(file="", plans=(names,)),
        )

    def waits_apart(self, number: int) -> bool:
        """Whether its own code takes so long that the slot of an operation is not to be held for it."""
        first = self.scenario.tries[number][0]
        return self.scenario.waits[number] > _SMALL * (first.before + first.work + first.after)

    def handler(self, node: Operate, _program: Program) -> WaitingOperation:
        """What does a node of the program."""
        kind, _, number = node.operation.rpartition(" ")
        return _Operation(self, int(number), node.priority, is_code=kind == _CODE)

    def pool(self) -> BackendPool:
        """The endpoints by their numbers, with gates of their own."""
        run, limits = self.scenario.run, self.scenario.limits
        backends: dict[str, Any] = {f"{i}": _Endpoint(f"{i}", each) for i, each in enumerate(limits)}
        backends = backends or {"": _Endpoint("", Limits())}

        def gate(name: str, backend: Any) -> Gate:
            allowed: Limits = backend.limits
            is_adaptive = bool(name) and run.endpoints[int(name)].is_adaptive and allowed.max_concurrency is None
            return Gate(name, allowed, adaptive=is_adaptive)

        return BackendPool(backends, next(iter(backends))).gated(gate)

    def failure(self, endpoint: int, kind: str, message: str) -> BackendError:
        """What an endpoint fails with."""
        seconds = self.scenario.retry_after.get(endpoint) if kind == RATE_LIMITED else None
        return BackendError(kind, message, retryable=True, retry_after_s=seconds or None)


class _Endpoint:
    """What a pool knows of an endpoint; the calls themselves go to a `_Doer`."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.info = BackendInfo(name=name, kind="measured", model="", simulated=True)
        self.limits = replace(limits, timeout_s=None, timeout_first_token_s=None)

    def begin(self, request: object, _clock: Clock, _done: Done) -> Handle:
        raise InternalError(f"a model is asked for {request}, of which only times are known")

    async def close(self) -> None:
        """Nothing is held."""


class _Operation(WaitingOperation):
    """A node of the run, or its own code in front of it. What is asked is its number."""

    __slots__ = ("_number", "_world")

    def __init__(self, world: _World, number: int, priority: int, *, is_code: bool) -> None:
        self._world = world
        self._number = number
        self.provider = _CODE if is_code else world.scenario.endpoints[number]
        self.priority = priority
        self.timeout_ns = None
        self.retries = None

    def bind(self, run: Binding) -> Provider:
        if self.provider == _CODE:
            return _Code(self._world)
        endpoint = self._world.scenario.endpoints[self._number]
        return _Doer(self._world, endpoint, None if endpoint == NOBODY else run.pool.get(f"{endpoint}")[1], run)

    def request(self, values: list[Value], form: object) -> int:
        del values, form
        return self._number

    def value(self, answer: object, request: object) -> Value:
        del answer, request
        return None


_ANSWER = ModelAnswer("", Usage())


class _Code(Provider):
    """Code between operations."""

    kind = name = _CODE
    virtual = True

    def __init__(self, world: _World) -> None:
        self._waits = world.scenario.waits
        self.begin = self._begin

    def _begin(self, request: int, clock: Clock, done: Done) -> Handle:
        return clock.call_at(clock.now() + self._waits[request], lambda: done(_ANSWER))

    def answer(self, call: Call, outcome: object) -> ModelAnswer:
        del call, outcome
        return _ANSWER


class _Doer(Provider):
    """Whoever does the operations of an endpoint, or those that have none."""

    kind = "endpoint"
    virtual = True

    def __init__(self, world: _World, endpoint: int, gate: Gate | None, run: Binding) -> None:
        self.name = f"{endpoint}"
        self.gate = gate
        self._world = world
        self._endpoint = endpoint
        self._station = Station() if endpoint == NOBODY else world.stations[endpoint]
        self._failures: EndpointFailures | None = None
        if gate is not None:
            self._failures = EndpointFailures(gate, world.scenario.limits[endpoint].retries, run.pool.retries, run)
        self.begin = self._begin

    def _begin(self, request: int, clock: Clock, done: Done) -> Handle:
        world = self._world
        if (wall := self._station.refuses) is not None:
            failure = world.failure(self._endpoint, RATE_LIMITED, "")
            return clock.call_at(clock.now() + wall.latency, lambda: done(failure))
        index = world.begun[request]
        world.begun[request] += 1
        tried = world.scenario.tries[request][index]
        if not index and not world.waits_apart(request):
            tried = tried._replace(before=tried.before + world.scenario.waits[request])
        # The clock of a run on virtual time, as this one always is, knows ranks.
        return _Attempt(world, self._station, request, tried, cast(RankedClock, clock), done)

    def answer(self, call: Call, outcome: object) -> ModelAnswer | OperationError:
        del call
        assert isinstance(outcome, ModelAnswer | OperationError)
        return outcome

    def most_tokens(self, request: int) -> int:
        tries = self._world.scenario.tries[request]
        tried = tries[min(self._world.begun[request], len(tries) - 1)]
        return (tried.input or 0) + (tried.output or 0)

    def retry(self, call: Call, error: OperationError, now: int) -> int | None:
        """After as long a pause as there was; after a failure that follows from a law, as the runtime decides. That its
        gate hears of either is part of what is run again."""
        heard = error.kind not in OF_NO_USE and error.kind != "cancelled"
        pause = self._failures.retry(call, error, now) if heard and self._failures is not None else None
        if error.message != _AS_IT_WAS:
            return pause
        number: int = call.request
        tries, begun = self._world.scenario.tries[number], self._world.begun[number]
        return tries[begun].pause if begun < len(tries) else None


class _Attempt:
    """An attempt on its way: some time of our own, the work, and some more time."""

    __slots__ = ("_clock", "_done", "_handles", "_number", "_station", "_tried", "_world")

    def __init__(
        self, world: _World, station: Station, number: int, tried: Try, clock: RankedClock, done: Done
    ) -> None:
        self._world = world
        self._station = station
        self._number = number
        self._tried = tried
        self._clock = clock
        self._done = done
        self._handles: list[Handle] = []
        self._later(tried.before, self._send)

    def cancel(self) -> None:
        for each in self._handles:
            each.cancel()
        self._handles.clear()

    def _later(self, after: int, then: Callable[[], None]) -> None:
        if after:
            self._handles.append(self._clock.call_at(self._clock.now() + after, then))
        else:
            then()

    def _send(self) -> None:
        hedge = self._world.scenario.hedge
        self._ask(self._tried.work)
        if hedge is not None and self._number in hedge.second:
            self._later(hedge.after, self._ask_again)

    def _ask(self, work: int) -> None:
        tried = self._tried
        self._handles.append(self._station.begin(work, tried.order, tried.was_over, self._clock, self._worked))

    def _ask_again(self) -> None:
        scenario = self._world.scenario
        assert scenario.hedge is not None
        self._world.hedged.append(self._number)
        works = scenario.hedge.second[self._number]
        self._ask(round(works[Random(f"{scenario.seed}:{self._number}").randrange(len(works))]))

    def _worked(self) -> None:
        self.cancel()
        self._later(self._tried.after, self._over)

    def _over(self) -> None:
        tried = self._tried
        if tried.outcome == "ok":
            self._done(replace(_ANSWER, usage=Usage(tried.input, tried.output)))
        else:
            endpoint = self._world.scenario.endpoints[self._number]
            self._done(self._world.failure(endpoint, tried.outcome, _AS_IT_WAS))
