"""How long a flow will take: the real scheduler, on virtual time, over the profile of an endpoint.

What a run does is decided by the real runtime: limits, priorities, frames, order, retries. Only the endpoint is a
model, and what the answers say is unknown: a `switch` on a text that holds one takes each of its arms equally often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from statistics import fmean
from typing import TypeVar

from msgspec import Struct

from apxm.analysis.bootstrap import mean_interval
from apxm.analysis.profile import Profile, assumed
from apxm.analysis.station import ANSWER, PredictedBackend, stand_in
from apxm.analysis.usage import model_calls
from apxm.errors import OperationError, UsageError
from apxm.operations.catalog import OPERATIONS
from apxm.operations.types import Type, Value, parse_type
from apxm.program.program import AnyNode, Flow, Opener, Operate, Program
from apxm.runtime.content import UnreadFiles
from apxm.runtime.expressions import Evaluate
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.table import Handler, LoadedProgram, handler
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.tools.simulated import TYPICAL_TOOLS, ToolLatencies
from apxm.tools.toolbox import SimulatedToolbox

T = TypeVar("T")


class Prediction(Struct, frozen=True):
    mean_ms: float
    ci95_ms: tuple[float, float]
    """The interval of the mean, by bootstrap; what the profile itself got wrong is not in it."""
    samples_ms: tuple[float, ...]
    """The duration of each run; a single one where nothing is random."""
    calls: float
    """Mean number of model calls per run."""
    random: bool
    """Whether another run could take another time, or other calls."""


def predict(
    program: Program,
    flow: Flow,
    arguments: Sequence[Value] = (),
    profile: Profile | None = None,
    max_concurrency: int | None = None,
    runs: int = 20,
    seed: int = 0,
    tools: ToolLatencies = TYPICAL_TOOLS,
) -> Prediction:
    """Runs `flow` over the model of an endpoint, `runs` times with other draws; equal seeds give equal numbers. Where
    nothing is random, once.

    Without a profile each operation takes its stated `typical_ms`. With one, every backend that the program names is
    taken for an endpoint like that of the profile. `tools` says how long tools take. May be called inside a running
    event loop, which then stands still.
    Raises `UsageError` where the flow cannot succeed with these arguments.
    """
    return Predictor(program, profile, seed, tools).predict(flow, arguments, max_concurrency, runs)


class Predictor:
    """A program loaded so that its model calls go to predicted endpoints, and what would choose by their answers takes
    any case; for any number of predictions."""

    def __init__(
        self, program: Program, profile: Profile | None, seed: int, tools: ToolLatencies = TYPICAL_TOOLS
    ) -> None:
        self._seed = seed
        self._tools = SimulatedToolbox(tools, seed, lambda result, _: stand_in(result, items=1))
        self._draws = profile is not None and len(profile.ratios) > 1
        self._iteration = 0
        self._arms: dict[tuple[int, int], Random] = {}
        """What chooses at each opener whose choice depends on an answer, by plan and node."""
        self._program = LoadedProgram(program, _by_operation if profile is None else _predicted, self._any_case)
        named = filter(None, self._program.backends)
        self._endpoints: dict[str, Profile] = (
            {name: assumed(OPERATIONS[name]) for name in dict.fromkeys(["ask", *named])}
            if profile is None
            else dict.fromkeys([profile.backend, *named], profile)
        )
        """The profiles by the name of the backend; the first answers by default."""

    def predict(
        self, flow: Flow, arguments: Sequence[Value] = (), max_concurrency: int | None = None, runs: int = 20
    ) -> Prediction:
        """Predicts a flow as the function of this name does."""
        samples: list[float] = []
        calls: list[int] = []
        for trace in self.runs(flow, arguments, max_concurrency, runs):
            samples.append(trace.duration / 1e6)
            calls.append(sum(len(record.attempts) for record in model_calls(trace)))
        interval = mean_interval(samples, self._seed)
        return Prediction(interval.mean, (interval.low, interval.high), tuple(samples), fmean(calls), self.random)

    @property
    def random(self) -> bool:
        """Whether the run that is over could have gone otherwise: it drew, or took a case that an answer would decide.

        Every run meets the first such opener, so one run is enough to know.
        """
        return self._draws or bool(self._arms)

    def runs(
        self, flow: Flow, arguments: Sequence[Value] = (), max_concurrency: int | None = None, most: int = 1
    ) -> Iterator[Trace]:
        """The runs behind a prediction, up to `most`, until one was not random."""
        for iteration in range(most):
            pool = self._begin(iteration)
            run = Run(
                self._program,
                flow,
                arguments,
                pool,
                RunOptions(max_concurrency=max_concurrency, seed=self._seed, files=UnreadFiles()),
                self._tools,
            )
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

    def _any_case(self, plan: int, index: int, node: AnyNode, known: Evaluate) -> Evaluate:
        """What chooses at an opener: by a text that depends on an answer, each case equally often."""
        if not isinstance(node, Opener) or not node.cases:
            return known
        # The answer itself is no label, so it takes the default.
        cases = [ANSWER if case is None else case for case in node.cases]
        place = plan, index

        def choose(values: list[Value]) -> Value:
            try:
                selector = known(values)
            except OperationError as error:
                if ANSWER[0] not in error.message:
                    raise
                selector = ANSWER  # a function cannot read it: `number` of an answer
            if not isinstance(selector, str) or ANSWER[0] not in selector:  # a function may have changed the rest
                return selector
            if place not in self._arms:
                self._arms[place] = Random(f"{self._seed}:{self._iteration}:{plan}:{index}")
            return self._arms[place].choice(cases)

        return choose


def _by_operation(node: Operate, records: Mapping[str, Type]) -> Handler:
    """The node's handler; a call goes to a backend that is called like the operation."""
    made = _predicted(node, records)
    if isinstance(made, ModelCall):
        made.provider = node.operation
    return made


def _predicted(node: Operate, records: Mapping[str, Type]) -> Handler:
    """The node's handler; what a model says is read as a value of the type that is asked for, whatever it says."""
    made = handler(node, records)
    if isinstance(made, ModelCall) and made.read is not None:
        value = stand_in(parse_type(node.result, records), items=1)
        made.read = lambda _: value
    return made


def _run_virtually(main: Coroutine[object, object, T]) -> T:
    """Runs `main` on a loop of its own; in a thread of its own where this one already runs a loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_virtually(main)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run_virtually, main).result()
