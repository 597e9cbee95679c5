"""What can be said of a flow before any run: work, span, bounds, predictions, model calls and their tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from statistics import fmean
from types import MappingProxyType

from msgspec import Struct

from apxm.analysis.branches import Branches, Carried
from apxm.analysis.known import UNKNOWN, KnownTurns, assumed_items, assumed_turns, by_node
from apxm.analysis.lengths import NO_LENGTHS, Lengths, without_turns
from apxm.analysis.measure import path_steps
from apxm.analysis.metrics import PathStep
from apxm.analysis.predict import Assumptions, Predictor
from apxm.analysis.profile import Profile
from apxm.analysis.station import stand_in
from apxm.analysis.usage import Sizes, answer_tokens, calls_model, calls_tool
from apxm.analysis.work_span import longest
from apxm.backends.engine import Tokens
from apxm.backends.simulated import CHARACTERS_PER_TOKEN
from apxm.errors import UsageError
from apxm.operations.catalog import AVAILABLE, OPERATIONS
from apxm.operations.definition import Family
from apxm.operations.types import JSON, Type, Value, parse_type
from apxm.program.expressions import Literal
from apxm.program.frames import EXPECTED, HIGH, LOW, SCENARIOS, Scenario
from apxm.program.invocation import arguments_for
from apxm.program.nodes import Operate
from apxm.program.openers import Repeat
from apxm.program.program import Flow, Program
from apxm.program.unfolding import Unfolding, unfold
from apxm.runtime.handlers.model import literal
from apxm.runtime.trace import Trace
from apxm.tools.simulated import TYPICAL_TOOLS, ToolLatencies

PREDICTED_CALLS = 100_000
"""About how many calls all runs of a prediction make together."""
MOST_RUNS = 100


class Range(Struct, frozen=True):
    """A number that depends on which arms are taken, and how often frames open: the least, the mean if all are equally
    likely, the most."""

    low: float
    expected: float
    high: float | None
    """The largest value; None where nothing limits it."""


class ConcurrencyEstimate(Struct, frozen=True):
    """How long the flow takes with at most `slots` calls in flight."""

    slots: int
    lower_ms: float
    """No run can be faster, as long as each call takes as long as if it were alone."""
    upper_ms: float | None
    """No run is slower, as long as nothing but slots delays it: T1/P + T_inf · (1 − 1/P) (Graham, 1969). None where
    nothing limits T1."""
    predicted_ms: float
    """Mean over all arms and draws, contention and the client's own cost included."""
    predicted_ci95_ms: tuple[float, float]
    """The interval of the mean."""
    interval80_ms: tuple[float, float]
    """Where four of five runs are expected to end."""


class Held(Struct, frozen=True):
    """Something that each turn of a loop needs of the one before, and how it would be if it did not."""

    what: str
    """The name that is carried; or the tools, or `print`, whose calls are kept in order."""
    is_carried: bool
    next_ms: float
    """`Loop.next_ms` without it."""
    t_inf_ms: float
    """The expected T_inf of the flow without it."""


class Loop(Struct, frozen=True):
    """A loop of the flow, and what each of its turns adds."""

    path: str
    operation: str
    """What the source calls it: ``for`` or ``loop``."""
    where: str
    turns: Range
    t1_ms: Range
    """The work of one turn."""
    next_ms: float
    """How much later each further turn ends than the one before, in the long run and as expected: 0 where turns run
    beside each other."""
    held_by: tuple[Held, ...]
    """What alone keeps its turns from ending sooner after each other; none of several that do it together."""


class Analysis(Struct, frozen=True, kw_only=True):
    flow: str
    latencies: str
    """The source of the numbers."""
    t1_ms: Range
    t_inf_ms: Range
    parallelism: float
    """Expected T1 over expected T_inf: the speedup that no number of slots can exceed."""
    critical_path: tuple[PathStep, ...]
    """Through the slowest arms."""
    calls: Range
    """`high` counts all retries that the program allows."""
    input_tokens: Range
    output_tokens: Range
    at: tuple[ConcurrencyEstimate, ...]
    loops: tuple[Loop, ...]
    unknown: tuple[str, ...]
    """Parameters without a value: their text counts as empty, and a `switch` on it takes any arm."""
    unknown_lengths: tuple[str, ...]
    """Operations of whose answers nobody knows how long they are, so that predictions draw it."""


class Needs(Struct, frozen=True):
    """What one run of a flow takes, by one attempt of each call."""

    calls: Range
    input_tokens: Range
    output_tokens: Range
    t1_ms: Range
    """All calls after each other."""
    t_inf_ms: Range
    """The longest chain of them."""


def analyze(
    program: Program,
    flow: Flow,
    slots: Sequence[int] = (1, 2, 4, 8),
    profile: Profile | None = None,
    given: Mapping[str, Value] | None = None,
    seed: int = 0,
    tools: ToolLatencies = TYPICAL_TOOLS,
    turns: Mapping[str, int] = MappingProxyType({}),
    lengths: Lengths = NO_LENGTHS,
) -> Analysis:
    """Analyzes a flow. `given` are the values of its parameters that are known, by name; `turns` says how many items
    the list of a parameter has, by its name, and how many turns a loop has, by its path. `lengths` are the tokens of
    answers in earlier runs.

    A call takes what its tokens cost alone by the profile's engine; of a profile without one, its mean service at
    concurrency 1; without a profile, its operation's `typical_ms`; one of a tool what `tools` says.
    Raises `UsageError` where the flow cannot be predicted without further values.
    """
    assumed = assumed_turns(program, flow, turns)
    arguments, unknown = with_stand_ins(flow, given or {}, program.record_types, turns)
    known_values = _known_values(flow, arguments, unknown, turns)
    known = ["" if p.name in unknown else value for p, value in zip(flow.parameters, arguments, strict=True)]
    loops = KnownTurns(Unfolding(program, unfold(program, flow)), known_values, assumed)
    static = _FlowAnalysis(program, flow, profile, tools, loops, known, lengths)
    t1, t_inf = static.work(), static.spans()
    prompts, answers = static.tokens(known)
    calls, in_slots = static.calls(), static.model_work()
    runs = max(1, min(MOST_RUNS, int(PREDICTED_CALLS / max(1, calls.expected))))
    predictor = Predictor(
        program, profile, seed, tools, assumptions_of(flow, unknown, by_node(program, flow, assumed), turns, lengths)
    )

    unknown_lengths: dict[str, None] = {}

    def at(p: int) -> ConcurrencyEstimate:
        lower = max(in_slots.low / p, t_inf.low)
        upper = None if t1.high is None or t_inf.high is None else t1.high / p + t_inf.high * (1 - 1 / p)
        found = predictor.predict(flow, arguments, p, runs)
        unknown_lengths.update(dict.fromkeys(found.unknown))
        return ConcurrencyEstimate(p, lower, upper, found.mean_ms, found.ci95_ms, found.interval80_ms)

    return Analysis(
        flow=flow.qualified_name,
        latencies=latencies(profile, tools if any(static.tools) else None),
        t1_ms=t1,
        t_inf_ms=t_inf,
        parallelism=t1.expected / t_inf.expected if t_inf.expected else 1.0,
        critical_path=static.critical_path(),
        calls=calls,
        input_tokens=prompts,
        output_tokens=answers,
        at=tuple(map(at, slots)),
        loops=static.loops(),
        unknown=unknown,
        unknown_lengths=tuple(unknown_lengths),
    )


class _FlowAnalysis:
    """The sums and paths of one flow."""

    def __init__(
        self,
        program: Program,
        flow: Flow,
        profile: Profile | None,
        tools: ToolLatencies,
        known: KnownTurns,
        arguments: Sequence[Value],
        lengths: Lengths,
    ) -> None:
        self._tools_ms = tools
        self._program = program
        self._flow = flow
        self._profile = profile
        self.branches = graph = Branches(self._program, unfold(self._program, flow), openings=known.openings)
        self._calls = [
            [node for node in self._program.plans[frame.plan].nodes if isinstance(node, Operate) and calls_model(node)]
            for frame in graph.frames
        ]
        """The model calls of each frame."""
        self.tools = [
            [node for node in self._program.plans[frame.plan].nodes if isinstance(node, Operate) and calls_tool(node)]
            for frame in graph.frames
        ]
        """The calls of tools of each frame."""
        every_arm = Trace(program, flow, started=0, frames=list(graph.frames))
        self._earlier = {
            (frame, id(node)): fmean(found)
            for frame, record in enumerate(graph.frames if lengths else ())
            for i, node in enumerate(program.plans[record.plan].nodes)
            if isinstance(node, Operate) and (found := lengths.get(without_turns(every_arm.path_of(frame, i))))
        }
        """The mean tokens of the answers in earlier runs."""
        self._expected = Sizes(graph, EXPECTED, arguments, self._typical)
        self._weights = [0] * graph.size
        for frame, record in enumerate(graph.frames):
            for i, node in enumerate(self._program.plans[record.plan].nodes):
                if isinstance(node, Operate) and (calls_model(node) or calls_tool(node)):
                    self._weights[graph.number(frame, i)] = self._ns(frame, node)

    def work(self) -> Range:
        return self._range(lambda frame, node, _scenario: self._ns(frame, node) / 1e6, self._all_calls())

    def model_work(self) -> Range:
        """The part of the work that takes slots."""
        return self._range(lambda frame, node, _scenario: self._ns(frame, node) / 1e6)

    def spans(self) -> Range:
        return _range(lambda scenario: self.branches.span(self._weights, scenario) / 1e6)

    def calls(self) -> Range:
        return self._range(lambda _frame, node, scenario: _attempts(node, scenario))

    def tokens(self, arguments: Sequence[Value]) -> tuple[Range, Range]:
        """The tokens of all prompts, and of all answers."""
        typical = self._typical
        sizes = {scenario: Sizes(self.branches, scenario, arguments, typical) for scenario in SCENARIOS}
        return (
            self._range(lambda frame, node, s: _attempts(node, s) * sizes[s].prompt_tokens(frame, node)),
            self._range(lambda frame, node, s: _attempts(node, s) * answer_tokens(node, s, typical(frame, node))),
        )

    def loops(self) -> tuple[Loop, ...]:
        graph = self.branches
        every_turn = Trace(self._program, self._flow, started=0, frames=list(graph.frames))
        span = graph.spans(self._weights, EXPECTED)

        def of(frame: int, node: int) -> Loop:
            opening = graph.counts[frame, node]
            opener = graph.node(frame, node)
            assert isinstance(opener, Repeat)
            (turn,) = opening.plans

            def work(scenario: Scenario) -> float:
                own = [sum(self._ns(at, call) for call in calls) / 1e6 for at, calls in enumerate(self._all_calls())]
                return graph.totals(own, scenario)[turn]

            return Loop(
                path=every_turn.path_of(frame, node),
                operation=opener.called,
                where=every_turn.place_of(frame, node),
                turns=_range(lambda scenario: scenario.times(opening)),
                t1_ms=_range(work),
                next_ms=span.turn_times(frame, node).rate() / 1e6,
                held_by=tuple(self._held_by(frame, node, span.turn_times(frame, node).rate())),
            )

        return tuple(of(*place) for place in sorted(graph.counts))

    def _held_by(self, frame: int, node: int, rate: float) -> Iterator[Held]:
        """What alone keeps the turns of a loop at `rate`, in ns."""
        opener = self.branches.node(frame, node)
        assert isinstance(opener, Repeat)
        if opener.called not in ("for", "loop"):
            return  # the rounds of an `ask` with tools, which no source can change
        names = self._program.names.plans[opener.plan].nodes
        for port in opener.carried if rate else ():
            spans = self.branches.spans(self._weights, EXPECTED, Carried((frame, node), port))
            without = spans.turn_times(frame, node).rate()
            if without < rate:
                name = names[port].path
                yield Held(
                    name or self._kept_in_order(self.branches.counts[frame, node].plans[0]),
                    bool(name),
                    without / 1e6,
                    spans.of_flow() / 1e6,
                )

    def _kept_in_order(self, turn: int) -> str:
        """What a turn, and what it opens, calls that is kept in order with the same of other turns."""
        below = {turn}
        for frame, record in enumerate(self.branches.frames):
            if record.parent in below:
                below.add(frame)
        calls = [call for frame in below for call in self.tools[frame] if literal(call, "readonly") is not True]
        return ", ".join(sorted({str(literal(call, "tool")) for call in calls})) or "print"

    def _all_calls(self) -> list[list[Operate]]:
        """The calls of models and tools, by frame."""
        return [[*models, *tools] for models, tools in zip(self._calls, self.tools, strict=True)]

    def critical_path(self) -> tuple[PathStep, ...]:
        every_arm = Trace(self._program, self._flow, started=0, frames=list(self.branches.frames))
        return path_steps(every_arm, longest(self.branches, self._weights), lambda ns: ns / 1e6)

    def _range(
        self, amount: Callable[[int, Operate, Scenario], float], calls: Sequence[Sequence[Operate]] | None = None
    ) -> Range:
        """The sum over calls of a run, by frame; of all model calls where they are not given."""
        counted = self._calls if calls is None else calls

        def total(scenario: Scenario) -> float:
            own = [sum(amount(frame, node, scenario) for node in inside) for frame, inside in enumerate(counted)]
            return float(self.branches.total(own, scenario))

        return _range(total)

    def _typical(self, frame: int, node: Operate) -> float | None:
        earlier = self._earlier.get((frame, id(node)))
        if earlier is not None or self._profile is None:
            return earlier
        engine = self._profile.engine
        return self._profile.output_tokens if engine is None else engine.answer_tokens

    def _ns(self, frame: int, node: Operate) -> int:
        if calls_tool(node):
            return round(self._tools_ms.of(str(literal(node, "tool"))) * 1e6)
        if self._profile is not None and (engine := self._profile.engine) is not None:
            characters = CHARACTERS_PER_TOKEN * self._expected.prompt_tokens(frame, node)
            answer = round(answer_tokens(node, EXPECTED, self._typical(frame, node)))
            return round(engine.alone_ms(Tokens(engine.prompt_tokens(characters), answer)) * 1e6)
        typical = OPERATIONS[node.operation].typical_ms if self._profile is None else self._profile.isolated_ms
        return round(typical * 1e6)


def _range(found: Callable[[Scenario], float]) -> Range:
    high = found(HIGH)
    return Range(found(LOW), found(EXPECTED), None if high == inf else high)


def _attempts(node: Operate, scenario: Scenario) -> int:
    """The attempts of one operation: one, or at worst all that its retries allow."""
    retries = node.options.get("retries")
    return 1 + (retries.value if scenario is HIGH and isinstance(retries, Literal) else 0)


def with_stand_ins(
    flow: Flow,
    given: Mapping[str, Value],
    records: Mapping[str, Type],
    turns: Mapping[str, int] = MappingProxyType({}),
) -> tuple[list[Value], tuple[str, ...]]:
    """The arguments of a flow of which only some are known, and the names of those that are not; `records` are those of
    the program.

    Text that is not known counts as if a model had written it, so a `switch` on it takes any arm.
    """
    lists = assumed_items(flow, turns, records)
    if twice := sorted(lists.keys() & given.keys()):
        raise UsageError(f"{twice[0]} is given, and so is the number of its items", hint="give one of them")
    unknown = tuple(p.name for p in flow.parameters if p.required and p.name not in given)
    types = {p.name: parse_type(p.type, records) for p in flow.parameters}
    stand_ins = {name: stand_in(types[name], items=1) for name in unknown}
    stand_ins |= {name: [stand_in(types[name].element or JSON)] * count for name, count in lists.items()}
    values = arguments_for(flow, {**stand_ins, **given}, records)
    # As they are: a stand-in that is made plain is one no longer.
    return [stand_ins.get(p.name, value) for p, value in zip(flow.parameters, values, strict=True)], unknown


def assumptions_of(
    flow: Flow,
    unknown: Sequence[str],
    by_node: Mapping[tuple[int, int], int],
    turns: Mapping[str, int],
    lengths: Lengths = NO_LENGTHS,
) -> Assumptions:
    """What a prediction is told of parameters that are unknown, of the turns of loops, `by_node` and by name, and of
    the lengths that answers had in earlier runs."""
    drawn = [port for port, p in enumerate(flow.parameters) if p.name in unknown and p.name not in turns]
    return Assumptions(frozenset((flow.plan, port) for port in drawn), by_node, lengths)


def _known_values(
    flow: Flow, arguments: Sequence[Value], unknown: Sequence[str], turns: Mapping[str, int]
) -> list[Value]:
    """The arguments as far as they are known: of lists perhaps only how many items they have."""
    known: list[Value] = []
    for parameter, value in zip(flow.parameters, arguments, strict=True):
        if isinstance(value, list) and parameter.name in turns:
            known.append([UNKNOWN] * turns[parameter.name])
        else:
            known.append(UNKNOWN if parameter.name in unknown else value)
    return known


def latencies(profile: Profile | None, tools: ToolLatencies | None = None) -> str:
    """The source of the numbers, in words; those of tools, where the program calls any."""
    return _latencies(profile) + (f"; tools {tools}" if tools else "")


def _latencies(profile: Profile | None) -> str:
    if profile is not None and profile.specification is not None:
        return f"those of backend {profile.backend}: {profile.specification}"
    if profile is not None:
        return f"profile of {profile.backend}, model {profile.model}, calibrated {profile.date}"
    return "assumed: " + ", ".join(
        f"{o.name} {o.typical_ms:,} ms" for o in AVAILABLE.values() if o.family is Family.MODEL
    )
