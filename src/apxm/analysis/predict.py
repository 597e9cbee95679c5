"""How long a flow will take: the real scheduler, on virtual time, over the profile of an endpoint.

What a run does is decided by the real runtime: limits, priorities, frames, order, retries. Only the endpoint is a
model, and what the answers say is unknown: a `switch` on one takes each of its arms equally often, a condition on one
holds every other time, and a list in one has 0 to 2 items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from random import Random
from statistics import fmean, median
from types import MappingProxyType
from typing import NamedTuple, cast

from msgspec import Struct
from msgspec.structs import replace

from apxm.analysis.bootstrap import mean_interval
from apxm.analysis.lengths import NO_LENGTHS, Lengths
from apxm.analysis.predicted_engine import PredictedEngine
from apxm.analysis.profile import Profile, assumed
from apxm.analysis.station import ANSWER, AnyJson, AnyList, PredictedBackend, stand_in
from apxm.analysis.unsure import unsure_values
from apxm.analysis.usage import model_calls
from apxm.errors import OperationError, UsageError
from apxm.operations.catalog import OPERATIONS
from apxm.operations.types import Value, parse_type
from apxm.program.expressions import Cast, Literal
from apxm.program.nodes import Operate
from apxm.program.openers import Opener, Repeat
from apxm.program.program import AnyNode, Flow, Program
from apxm.runtime.content import UnreadFiles
from apxm.runtime.expressions import Evaluate
from apxm.runtime.handlers.model import ModelCall
from apxm.runtime.handlers.table import Handler, LoadedProgram, handler
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually_apart
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.tools.simulated import TYPICAL_TOOLS, ToolLatencies
from apxm.tools.toolbox import SimulatedToolbox

_LEAST_ERROR = 0.01
"""An engine that was measured is not known better than to this part of a prediction, also where it never varied."""
MOST_ITEMS = 2
"""The most items of a list of which nothing is known; each number is as likely."""


class Assumptions(NamedTuple):
    """What a prediction is told of values that nobody knows."""

    inputs: frozenset[tuple[int, int]] = frozenset()
    """Inputs whose values only stand in for others, by plan and port."""
    turns: Mapping[tuple[int, int], int] = MappingProxyType({})
    """How many turns loops have, by plan and node."""
    lengths: Lengths = NO_LENGTHS


NOTHING_ASSUMED = Assumptions()


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
    interval80_ms: tuple[float, float]
    """Between these four of five runs are expected to end: calls vary, choices are open, and the costs of an engine and
    the lengths of answers are known as well as they are."""
    unknown: tuple[str, ...] = ()
    """The operations of whose answers nobody knows how long they are: by their path, without the turns."""


def predict(
    program: Program,
    flow: Flow,
    arguments: Sequence[Value] = (),
    profile: Profile | None = None,
    max_concurrency: int | None = None,
    runs: int = 20,
    seed: int = 0,
    tools: ToolLatencies = TYPICAL_TOOLS,
    assumptions: Assumptions = NOTHING_ASSUMED,
) -> Prediction:
    """Runs `flow` over the model of an endpoint, `runs` times with other draws; equal seeds give equal numbers. Where
    nothing is random, once.

    Without a profile each operation takes its stated `typical_ms`. With one, every backend that the program names is
    taken for an endpoint like that of the profile. `tools` says how long tools take, `assumptions` what
    is not known of the arguments. May be called inside a running
    event loop, which then stands still.
    Raises `UsageError` where the flow cannot succeed with these arguments.
    """
    return Predictor(program, profile, seed, tools, assumptions).predict(flow, arguments, max_concurrency, runs)


class Predictor:
    """A program loaded so that its model calls go to predicted endpoints, and what would choose by their answers takes
    any case; for any number of predictions."""

    def __init__(
        self,
        program: Program,
        profile: Profile | None,
        seed: int,
        tools: ToolLatencies = TYPICAL_TOOLS,
        assumptions: Assumptions = NOTHING_ASSUMED,
    ) -> None:
        self._seed = seed
        self._tools = SimulatedToolbox(tools, seed, lambda result, _: stand_in(result, items=1))
        self._draws = profile is not None and _varies(profile)
        self._lengths = assumptions.lengths
        self._least_error = _LEAST_ERROR if profile and profile.engine and profile.specification is None else 0.0
        self._unknown: dict[str, int] = {}
        self._iteration = 0
        self._arms: dict[str, Random] = {}
        """What draws each value that depends on an answer, by plan and expression."""
        self._drawn: dict[tuple[int, str], tuple[list[Value], Value]] = {}
        """What was drawn in each frame, whose values keep its identity; a condition may be read in two places."""
        self._turns = assumptions.turns
        self._unsure = unsure_values(program, assumptions.inputs)
        self._ends = {
            (node.plan, program.plans[node.plan].outputs[node.stop]): (plan, i) in assumptions.turns
            for plan, each in enumerate(program.plans)
            for i, node in each.openers()
            if isinstance(node, Repeat) and node.stop is not None
        }
        """The outputs that say whether a turn is the last, by plan and node, and whether that is assumed already."""
        program = with_casts(program, self._unsure)
        self._program = LoadedProgram(program, _by_operation if profile is None else _predicted, self._replaced)
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
        return Prediction(
            mean_ms=interval.mean,
            ci95_ms=(interval.low, interval.high),
            samples_ms=tuple(samples),
            calls=fmean(calls),
            random=self.random,
            interval80_ms=self._interval(samples),
            unknown=tuple(self._unknown),
        )

    def _interval(self, samples: Sequence[float]) -> tuple[float, float]:
        """The middle four fifths of what comes next, if it is like the samples."""
        ordered = sorted(samples)

        def quantile(share: float) -> float:
            place = min(max(share * (len(ordered) + 1) - 1, 0.0), len(ordered) - 1.0)
            low = int(place)
            high = min(low + 1, len(ordered) - 1)
            return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

        least = 0.0 if self.random else self._least_error * median(ordered)
        return min(quantile(0.1), median(ordered) - least), max(quantile(0.9), median(ordered) + least)

    @property
    def random(self) -> bool:
        """Whether the run that is over could have gone otherwise: it drew, or took a case that an answer would decide.

        Every run meets the first such opener, so one run is enough to know.
        """
        return self._draws or bool(self._arms) or bool(self._unknown)

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
            trace = run_virtually_apart(run.execute())
            if trace.status is not Status.SUCCEEDED:
                failure = trace.failures[0]
                raise UsageError(
                    f"{failure.operation} fails without a model ({failure.kind}): {failure.message}",
                    where=failure.where,
                    hint="give the flow the values that it would really get",
                )
            for backend in self._backends:
                if isinstance(backend, PredictedEngine):
                    self._unknown |= backend.unknown
                    self._draws |= backend.drew_lengths
            yield trace
            if not self.random:
                return

    def _begin(self, iteration: int) -> BackendPool:
        """Starts a run with draws and arms of its own."""
        self._iteration = iteration
        self._arms.clear()
        self._drawn.clear()
        backends = {name: self._backend(name, profile, iteration) for name, profile in self._endpoints.items()}
        self._backends = tuple(backends.values())
        return BackendPool(backends, next(iter(backends)))

    def _backend(self, name: str, profile: Profile, iteration: int) -> PredictedBackend | PredictedEngine:
        if profile.engine is None:
            return PredictedBackend(name, profile, self._seed, iteration)
        return PredictedEngine(name, profile, profile.engine, self._seed, iteration, self._lengths)

    def _replaced(self, plan: int, index: int, node: AnyNode, known: Evaluate) -> Evaluate:
        """What computes the value of a node: where an answer decides, it is drawn."""
        place = plan, index
        unsure = place in self._unsure
        if isinstance(node, Repeat) and (unsure or place in self._turns):
            return self._any_turns(place, node, known)
        if place in self._ends and (unsure or self._ends[place]):
            return self._drawing(plan, node, known, () if self._ends[place] else (True, False))
        if not isinstance(node, Opener) or not node.cases:
            return known
        # The answer itself is no label, so it takes the default.
        cases = tuple([ANSWER if case is None else case for case in node.cases])
        draw = self._drawing(plan, node, known, cases)
        if unsure:
            return draw

        def choose(values: list[Value]) -> Value:
            selector = known(values)
            # A function may have changed what the answer is but for its first character.
            return draw(values) if isinstance(selector, str) and ANSWER[0] in selector else selector

        return choose

    def _drawing(self, plan: int, node: AnyNode, known: Evaluate, cases: Sequence[Value]) -> Evaluate:
        """Draws one of `cases`, for the same expression of a frame the same; without any it is false."""
        if not cases:
            return lambda _values: False
        what = f"{plan}:{node.operands}:{node.computes}"

        def draw(values: list[Value]) -> Value:
            try:
                known(values)
            except OperationError as error:
                if ANSWER[0] not in error.message:
                    raise  # what fails, fails, but for a function that cannot read the answer that is assumed
            if (id(values), what) not in self._drawn:
                random = self._arms.setdefault(what, Random(f"{self._seed}:{self._iteration}:{what}"))
                self._drawn[id(values), what] = values, random.choice(cases)
            return self._drawn[id(values), what][1]

        return draw

    def _any_turns(self, place: tuple[int, int], node: Repeat, known: Evaluate) -> Evaluate:
        draw = self._drawing(place[0], node, known, range(MOST_ITEMS + 1))

        def computed(values: list[Value]) -> Value:
            found = known(values)
            told = self._turns.get(place)
            if node.items is None:
                return found if told is None else told
            limit, items = cast("list[Value]", found)
            if told is None and isinstance(items, list) and not isinstance(items, AnyList):
                return found  # as many items as the program made of them
            count = cast(int, draw(values)) if told is None else told
            some = cast("list[Value]", items) if isinstance(items, list) and items else [AnyJson()]
            return [limit, [some[turn % len(some)] for turn in range(count)]]

        return computed


def _varies(profile: Profile) -> bool:
    engine = profile.engine
    if engine is None:
        return len(profile.ratios) > 1
    return bool(engine.spread or engine.drift or engine.covariance or engine.answer_spread)


def with_casts(program: Program, unsure: Set[tuple[int, int]]) -> Program:
    """The program, where whatever nobody knows can be taken as a value of any type."""

    def changed(expression: object) -> object:
        if isinstance(expression, Cast):
            return Literal(stand_in(expression.target, items=1))
        if isinstance(expression, tuple):
            return tuple(map(changed, cast("tuple[object, ...]", expression)))
        if isinstance(expression, dict):
            return {name: changed(value) for name, value in cast("dict[str, object]", expression).items()}
        if isinstance(expression, Struct):
            fields = {name: getattr(expression, name) for name in expression.__struct_fields__}
            new = {name: changed(value) for name, value in fields.items()}
            return replace(expression, **new) if any(new[name] is not fields[name] for name in fields) else expression
        return expression

    def node(plan: int, index: int, of: AnyNode) -> AnyNode:
        needs = (plan, index) in unsure or any((plan, operand) in unsure for operand in of.operands)
        return cast(AnyNode, changed(of)) if needs else of

    plans = [
        replace(plan, nodes=tuple([node(number, i, of) for i, of in enumerate(plan.nodes)]))
        for number, plan in enumerate(program.plans)
    ]
    return replace(program, plans=tuple(plans))


def _by_operation(node: Operate, program: Program) -> Handler:
    """The node's handler; a call goes to a backend that is called like the operation."""
    made = _predicted(node, program)
    if isinstance(made, ModelCall):
        made.backend = made.provider = node.operation
    return made


def _predicted(node: Operate, program: Program) -> Handler:
    """The node's handler; what a model says is read as a value of the type that is asked for, whatever it says."""
    made = handler(node, program)
    if isinstance(made, ModelCall) and (made.read is not None or made.offer is not None):
        value = stand_in(parse_type(node.result, program.record_types), items=1)
        made.read = lambda _: value
        made.offer = None  # of calls of tools, too, nobody knows anything
    return made
