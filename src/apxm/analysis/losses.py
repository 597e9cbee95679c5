"""Where the time of a run went: a ladder of longest paths over the graph as it was executed (DESIGN §5).

Each rung gives the same operations heavier weights, so its longest path is no shorter, and the differences sum to the
duration. Only the step from means to what each operation really took can go down as well as up:

| rung | an operation weighs | the step to it |
|---|---|---|
| L0 | the mean service of its class at concurrency 1 | `isolated` |
| L1 | that, times the slowdown of its time in flight (s ≥ 1) | `contention` |
| L2 | its own service, of the attempt that was answered | `variation`, signed |
| L2b | its latency (service ≤ latency) | `transport` |
| L2c | the latency of all its attempts | `retries` |
| L3 | that, its pauses, and edges from the end of each attempt to the one that got its slot | `waiting` |
| T_P | | `runtime` |

`runtime` is not negative either: whatever L3 counts did pass on the clock, one thing after the other. An attempt is
sent after all that its operation waits for was received, after its pause, and after the slot it got was given back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from apxm.analysis.load import engine_times, slowdowns
from apxm.analysis.profile import Profile
from apxm.program.expressions import Literal
from apxm.program.frames import ends, in_order
from apxm.program.nodes import Operate
from apxm.program.unfolding import Unfolding
from apxm.runtime.trace import ANOTHER_RUN, Attempt, OperationRecord, Place, Trace

TERMS = ("isolated", "contention", "variation", "transport", "retries", "waiting", "runtime")


class Losses(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the duration of a run went, in ms. Means over runs are of this type too, and say nothing but the terms."""

    isolated: float
    contention: float
    variation: float
    transport: float
    retries: float
    waiting: float
    runtime: float
    calibrated: bool = True
    """Whether the profile covers every class. Those it does not are measured against their own mean in this run, which
    hides their contention in `isolated`."""
    transport_included: bool = False
    """Whether an endpoint did not report its service: transport then counts as service."""
    classes_of_one: tuple[str, ...] = ()
    """Classes without a profile and with a single operation, which therefore show no variation."""

    @property
    def terms(self) -> dict[str, float]:
        """The terms by name, in the order of the ladder; they sum to the duration."""
        return {name: getattr(self, name) for name in TERMS}


class OperationClass(Struct, frozen=True):
    """Operations that are expected to take equally long."""

    backend: str
    model: str | None
    """The model that was asked for; None is the backend's own."""
    operation: str
    output_bits: int | None
    """Binary digits of the number of output tokens; None where they were not counted."""

    def __str__(self) -> str:
        model = f", model {self.model}" if self.model else ""
        return f"{self.operation} on {self.backend}{model}{self._size()}"

    def _size(self) -> str:
        if self.output_bits is None:
            return ""
        low, high = (1 << self.output_bits) >> 1, (1 << self.output_bits) - 1
        return f", {low} output tokens" if low >= high else f", {low} to {high} output tokens"


def losses(trace: Trace, profile: Profile | None = None) -> Losses:
    """Explains the duration of a run that is over, however it ended; linear in the nodes of its frames."""
    answered = [(record, record.attempts[-1]) for record in trace.operations if record.succeeded]
    expected = _ExpectedDurations(trace, answered, profile)
    rungs = _Rungs(trace)
    for record, attempt in answered:
        isolated, loaded = expected.of(record, attempt)
        service = attempt.latency if expected.of_latencies else _service(attempt)
        rungs.answer(record, (isolated, loaded, service, attempt.latency))
    lengths = [0, *rungs.lengths(), trace.duration]
    differences = [(high - low) / 1e6 for low, high in pairwise(lengths)]
    return Losses(
        **dict(zip(TERMS, differences, strict=True)),
        calibrated=expected.calibrated,
        transport_included=expected.of_latencies or any(attempt.service_ns is None for _, attempt in answered),
        classes_of_one=expected.classes_of_one,
    )


class _ExpectedDurations:
    """What an operation would have taken had it been like the others of its class."""

    def __init__(
        self, trace: Trace, answered: Sequence[tuple[OperationRecord, Attempt]], profile: Profile | None
    ) -> None:
        self._trace = trace
        self._profile = profile
        samples: defaultdict[OperationClass, list[int]] = defaultdict(list)
        for record, attempt in answered:
            samples[self._class(record, attempt)].append(_service(attempt))
        self._means = {found: round(sum(services) / len(services)) for found, services in samples.items()}
        unknown = {found for found in samples if not self._covers(found)}
        self.calibrated = profile is not None and not unknown
        self.classes_of_one = tuple(sorted(str(found) for found in unknown if len(samples[found]) == 1))
        self.of_latencies = bool(profile and profile.engine)
        """Whether transport is part of what is expected."""
        covered = profile is not None and len(unknown) < len(samples)
        self._slowdowns = slowdowns(trace, profile) if profile and covered and not profile.engine else {}
        self._by_tokens = engine_times(trace, profile, profile.engine) if profile and covered and profile.engine else {}

    def of(self, record: OperationRecord, attempt: Attempt) -> tuple[int, int]:
        """The attempt's expected service in ns: alone, and under the load it met."""
        found = self._class(record, attempt)
        if self._profile is None or not self._covers(found):
            return self._means[found], self._means[found]
        if self._profile.engine is not None:
            key = record.frame, record.node
            mean = self._means[found] / 1e6
            alone, loaded = (round(ms * 1e6) for ms in self._by_tokens.get(key, (mean, mean)))
            return alone, max(alone, loaded)
        alone = round(self._profile.isolated_ms * 1e6)
        return alone, max(alone, round(alone * self._slowdowns[record.frame, record.node]))

    def _covers(self, found: OperationClass) -> bool:
        """The profile speaks for its backend and model, whatever they are asked for."""
        profile = self._profile
        return profile is not None and profile.backend == found.backend and found.model in (None, profile.model)

    def _class(self, record: OperationRecord, attempt: Attempt) -> OperationClass:
        node = self._trace.program.plans[self._trace.frames[record.frame].plan].nodes[record.node]
        assert isinstance(node, Operate)
        model = node.options.get("model")
        return OperationClass(
            record.backend,
            model.value if isinstance(model, Literal) else None,
            node.operation,
            None if attempt.usage.output_tokens is None else attempt.usage.output_tokens.bit_length(),
        )


class _Rungs:
    """The executed graph with a node for every attempt and every pause.

    The node of an operation in its plan is its last attempt. Attempts before it, and the pauses between, get numbers
    behind those of all plans.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._graph = Unfolding(trace.program, trace.frames)
        self._before = list(self._graph.before)
        self._answers: list[list[int]] = [[0] * self._graph.size for _ in range(4)]
        """The weights of the rungs up to L2b: of answered attempts alone."""
        self._numbers: dict[Place, int] = {}
        self._attempts: list[tuple[int, Attempt]] = []
        self._pauses: list[tuple[int, int]] = []
        for record in trace.operations:
            self._add(record)

    def answer(self, record: OperationRecord, weights: tuple[int, int, int, int]) -> None:
        number = self._graph.number(record.frame, record.node)
        for rung, weight in zip(self._answers, weights, strict=True):
            rung[number] = weight

    def lengths(self) -> list[int]:
        """The longest path of each rung, L0 to L3."""
        handed_over = self._with_hand_overs()
        order = in_order(handed_over)
        beyond = [0] * (len(self._before) - self._graph.size)
        rungs = [[*weights, *beyond] for weights in self._answers]
        all_attempts = [0] * len(self._before)
        for number, attempt in self._attempts:
            all_attempts[number] = attempt.latency
        waits = list(all_attempts)
        for number, pause in self._pauses:
            waits[number] = pause
        for number, attempt in self._attempts:
            if attempt.slot_from == ANOTHER_RUN:
                waits[number] += attempt.granted - attempt.asked
        found = [ends(self._before, order, weights) for weights in (*rungs, all_attempts)]
        found.append(ends(handed_over, order, waits))
        return [max(each, default=0) for each in found]

    def _add(self, record: OperationRecord) -> None:
        own = self._graph.number(record.frame, record.node)
        last = len(record.attempts) - 1
        previous: Attempt | None = None
        ahead = self._before[own]
        for index, attempt in enumerate(record.attempts):
            if previous is not None:
                ahead = [self._extra(ahead)]
                self._pauses.append((ahead[0], attempt.asked - previous.received))
            if index == last:
                number = own
                self._before[own] = ahead
            else:
                number = self._extra(ahead)
            self._numbers[record.frame, record.node, index] = number
            self._attempts.append((number, attempt))
            previous, ahead = attempt, [number]

    def _extra(self, before: Sequence[int]) -> int:
        self._before.append(before)
        return len(self._before) - 1

    def _with_hand_overs(self) -> Sequence[Sequence[int]]:
        extended: list[Sequence[int]] | None = None
        for number, attempt in self._attempts:
            if attempt.slot_from is not None and attempt.slot_from != ANOTHER_RUN:
                extended = extended or list(self._before)
                extended[number] = [*extended[number], self._numbers[attempt.slot_from]]
        return extended or self._before


def _service(attempt: Attempt) -> int:
    return attempt.latency if attempt.service_ns is None else attempt.service_ns
