"""How long a flow will take: the real scheduler, on virtual time, over the profile of an endpoint.

What a run does is decided by the real runtime: limits, priorities, frames, order, retries. Only the endpoint is a
model, and what the answers say is unknown: a `switch` on a text that holds one takes each of its arms equally often.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from statistics import fmean
from typing import TypeVar

from msgspec import Struct

from apxm.analysis.bootstrap import mean_interval
from apxm.analysis.endpoint import ANSWER, PredictedBackend
from apxm.analysis.profile import Profile, assumed
from apxm.errors import UsageError
from apxm.operations.catalog import OPERATIONS
from apxm.operations.types import Value
from apxm.program.model import AnyNode, Flow, Operate, Switch
from apxm.runtime.expressions import Evaluate
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.table import Handler, LoadedProgram, first_of_each_provider
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.state import LoadedPlan
from apxm.runtime.trace import Status, Trace

T = TypeVar("T")


class Prediction(Struct, frozen=True):
    mean_ms: float
    ci95_ms: tuple[float, float]
    """Of the mean, by bootstrap; what the profile itself got wrong is not in it."""
    samples_ms: tuple[float, ...]
    """The duration of each run; a single one where nothing is random."""
    calls: float
    """Mean number of model calls per run."""
    random: bool
    """Whether another run could take another time, or other calls."""


def predict(
    program: LoadedProgram,
    flow: Flow,
    arguments: Sequence[Value] = (),
    profile: Profile | None = None,
    max_concurrency: int | None = None,
    runs: int = 20,
    seed: int = 0,
) -> Prediction:
    """Runs `flow` over the model of an endpoint, `runs` times with other draws; equal seeds give equal numbers. Where
    nothing is random, once.

    Without a profile each operation takes its stated `typical_ms`. With one, every backend that the program names is
    taken for an endpoint like that of the profile. May be called inside a running event loop, which then stands still.
    Raises `UsageError` where the flow cannot succeed with these arguments.
    """
    samples: list[float] = []
    calls: list[int] = []
    prepared = _Prepared(program, profile, seed)
    for trace in prepared.runs(flow, arguments, max_concurrency, runs):
        samples.append(trace.duration / 1e6)
        calls.append(trace.attempts)
    interval = mean_interval(samples, seed)
    return Prediction(interval.mean, (interval.low, interval.high), tuple(samples), fmean(calls), prepared.random)


def simulate(
    program: LoadedProgram,
    flow: Flow,
    arguments: Sequence[Value] = (),
    profile: Profile | None = None,
    max_concurrency: int | None = None,
    runs: int = 1,
    seed: int = 0,
) -> Iterator[Trace]:
    """The runs behind `predict`, one by one."""
    return _Prepared(program, profile, seed).runs(flow, arguments, max_concurrency, runs)


class _Prepared:
    """A program whose model calls go to predicted endpoints, and whose switches on their answers take any arm."""

    def __init__(self, program: LoadedProgram, profile: Profile | None, seed: int) -> None:
        self._seed = seed
        self._draws = profile is not None and len(profile.ratios) > 1
        self._iteration = 0
        self._arms: dict[tuple[int, int], Random] = {}
        """What chooses at each `Switch` whose selector depends on an answer, by plan and node."""
        self._endpoints: dict[str, Profile] = {}
        """By the name of the backend; the first answers by default."""
        self.program = copy.copy(program)
        self.program.plans = tuple(map(self._with_any_arm, program.plans))
        calls = [
            (handler, node.operation)
            for plan, handlers in zip(program.plans, program.handlers, strict=True)
            for handler, node in zip(handlers, plan.nodes, strict=True)
            if isinstance(handler, ModelCall) and isinstance(node, Operate)
        ]
        if profile is not None:
            names = [profile.backend, *(handler.backend for handler, _ in calls if handler.backend)]
            self._endpoints = dict.fromkeys(names, profile)
        else:
            self._endpoints = {
                name: assumed(OPERATIONS[name]) for name in dict.fromkeys(["ask", *(name for _, name in calls)])
            }
            self.program.handlers = _by_operation(program)
            self.program.waiting = first_of_each_provider(self.program.handlers)

    @property
    def random(self) -> bool:
        """Whether the run that is over could have gone otherwise: it drew, or took an arm that an answer would decide.

        Every run meets the first such `switch`, so one run is enough to know.
        """
        return self._draws or bool(self._arms)

    def runs(self, flow: Flow, arguments: Sequence[Value], max_concurrency: int | None, most: int) -> Iterator[Trace]:
        """Up to `most`, until one was not random."""
        for iteration in range(most):
            pool = self._begin(iteration)
            run = Run(self.program, flow, arguments, pool, RunOptions(max_concurrency=max_concurrency, seed=self._seed))
            trace = _run_virtually(run.execute())
            if trace.status is not Status.SUCCEEDED:
                failure = trace.failures[0]
                raise UsageError(
                    f"{failure.operation} fails without a model ({failure.kind}): {failure.message}",
                    where=failure.where,
                    hint="give the flow the values that it would really get",
                )
            yield trace
            if not self.random:
                return

    def _begin(self, iteration: int) -> BackendPool:
        """Starts a run with draws and arms of its own."""
        self._iteration = iteration
        self._arms.clear()
        backends = {
            name: PredictedBackend(name, profile, self._seed, iteration) for name, profile in self._endpoints.items()
        }
        return BackendPool(backends, next(iter(backends)))

    def _with_any_arm(self, plan: LoadedPlan) -> LoadedPlan:
        switches = {i: node for i, node in enumerate(plan.nodes) if isinstance(node, Switch)}
        if not switches:
            return plan
        changed = copy.copy(plan)
        changed.evaluators = {
            **plan.evaluators,
            **{i: self._selector(plan, i, switch) for i, switch in switches.items()},
        }
        return changed

    def _selector(self, plan: LoadedPlan, index: int, switch: Switch) -> Evaluate:
        known = plan.evaluators[index]
        # The answer itself is no label, so it takes the default.
        labels = switch.labels if switch.default is None else (*switch.labels, ANSWER)

        def select(values: list[Value]) -> Value:
            selector = known(values)
            if ANSWER not in selector:
                return selector
            place = plan.index, index
            if place not in self._arms:
                self._arms[place] = Random(f"{self._seed}:{self._iteration}:{plan.index}:{index}")
            return self._arms[place].choice(labels)

        return select


def _by_operation(program: LoadedProgram) -> tuple[tuple[Handler | None, ...], ...]:
    """The handlers, each call with its operation's name as its backend."""

    def changed(handler: Handler | None, node: AnyNode) -> Handler | None:
        if not isinstance(handler, ModelCall) or not isinstance(node, Operate):
            return handler
        if handler.backend is None and node.operation == "ask":
            return handler  # it is the default: most calls of a large program need no copy
        handler = copy.copy(handler)
        handler.provider = node.operation
        return handler

    return tuple(
        tuple(map(changed, handlers, plan.nodes))
        for handlers, plan in zip(program.handlers, program.plans, strict=True)
    )


def _run_virtually(main: Coroutine[object, object, T]) -> T:
    """On a loop of its own; in a thread of its own where this one already runs a loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_virtually(main)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run_virtually, main).result()
