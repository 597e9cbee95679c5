"""What calls at once do to each other at an endpoint, as far as a run shows it.

An endpoint is taken to serve at most so many calls at once, first come, first served, and the calls in service to slow
each other down by s(c) = 1 + α(c−1) + βc(c−1), Gunther's universal scalability law. That is what a processor that is
shared does, a queue, and in good approximation an engine with continuous batching (`backends/engine.py`).

Under such a law each call brought some work, the time that it would have taken alone: the law's rate, integrated over
the time for which it was in service. Every law explains every run. What speaks for one of them is that it makes calls
alike which have no reason to differ (`expected.py`). What a call brought depends on nothing but when it, and those
before it, ended. So the density of the instants that were measured is that of the works, times 1/s(c) at the end of
each call, and that is what laws are compared by.

A run says little of a load that it never had. So all laws are kept that explain it about as well, with how likely each
is, and what follows from them is a range: a narrow one where the run shows how calls slow each other down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from heapq import heappush, heapreplace
from math import exp, lgamma, log
from typing import NamedTuple

from apxm.advice.expected import Kind, expectations
from apxm.advice.measured import MeasuredRun
from apxm.analysis.profile import Profile
from apxm.analysis.station import Queue
from apxm.backends.slowdown import Curve, Slowdown, UniversalScalability

_ALPHAS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
_BETAS = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
_SLOTS = (*range(1, 33), 36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 96, 128, 160, 192, 256)
_NO_SLOTS, _NO_ALPHA, _NO_BETA = 0.6, 0.3, 0.85
"""How likely it is, before anything is known, that there are as many slots as calls, and no slowing down of a kind."""
_ROUGH = ((0.0, 0.0), (0.05, 0.0), (0.3, 0.0), (0.02, 1e-3))
_FAR = 12.0
"""Slots that explain this much less by the rough laws are not looked at more closely."""
_STEPS = (1.6, 1.2, 1.06, 1.02, 1.007, 1.002)
"""By which factors a law is varied until none explains more."""
_NARROW = 0.5
"""Where laws are good in less than this part of a cell of the grid, the grid says nothing of them."""
_LIKELY = 6.0
"""A law whose logarithm of the weight is less by more counts no more."""
_TOGETHER = 0.005
"""Calls that were sent within this part of what a call takes may have come in any order."""
_FEWEST = 3
"""Of fewer calls nobody knows how many slots there are."""
_MOST = 2000
"""So many calls are looked at: those that were sent first."""
_Parameters = tuple[float, float]
"""α and β."""


class Law(NamedTuple):
    slots: int | None
    """None where there is one for every call."""
    slowdown: Slowdown

    def factor(self, calls: int) -> float:
        """s(c) of so many in service."""
        return float(self.slowdown.factor(max(1, calls)))

    def throughput(self, calls: int) -> float:
        """How many calls' work is done in the time of one alone, where so many are in flight."""
        served = calls if self.slots is None else min(calls, self.slots)
        return served / self.factor(served)


def law(slots: int | None, alpha: float, beta: float) -> Law:
    if not alpha and not beta:
        return Law(slots, Curve("none", ((1, Fraction(1)),)))
    a, b = (Fraction(each).limit_denominator(10**9) for each in (alpha, beta))
    return Law(slots, UniversalScalability(f"usl:{alpha:g},{beta:g}", a, b))


def law_of(profile: Profile) -> Law:
    """That of an endpoint that was calibrated."""
    slots = None if profile.engine is None else profile.engine.slots
    if slots is None and profile.discipline == "queue":
        slots = max(1, round(Queue.throughput(profile)))
        return law(slots, 0.0, 0.0)
    if slots is None:
        return Law(None, profile.slowdown)
    # What is beyond the slots waits for them, which the law says itself.
    most = profile.slowdown.factor(slots)
    points = [(calls, factor) for calls, factor in profile.slowdown.points if calls < slots]
    if slots == 1 or not points:
        return law(slots, 0.0, 0.0)
    return Law(slots, Curve(f"{profile.slowdown.text} up to {slots}", (*points, (slots, most))))


class Seen(NamedTuple):
    """A call as an endpoint saw it. Instants in ns."""

    node: int
    attempt: int
    sent: int
    over: int
    """When its work was done; what is left of its latency is the way there and back."""
    counts: bool
    """Whether its work is to be like that of others: it was answered."""
    kind: Kind

    @property
    def is_served(self) -> bool:
        """Whether it took any time: what is refused at once does not."""
        return self.over > self.sent


def seen_at(run: MeasuredRun, endpoint: int, refused: str | None = None) -> list[Seen]:
    """The calls of an endpoint in the order in which they came, but for those with the outcome `refused`. Of those that
    were sent together nobody knows who was in front: who was answered first is taken to have been."""
    found: list[Seen] = []
    for number, node in enumerate(run.nodes):
        for index, attempt in enumerate(node.attempts if node.endpoint == endpoint else ()):
            if attempt.outcome != refused:
                tokens = None if attempt.input is None or attempt.output is None else (attempt.input, attempt.output)
                over, kind = attempt.sent + attempt.worked, Kind(node.place, tokens)
                found.append(Seen(number, index, attempt.sent, over, attempt.outcome == "ok", kind))
    found.sort(key=lambda call: (call.sent, call.over))
    return [call for batch in _batches(found) for call in sorted(batch, key=lambda call: call.over)]


def _batches(calls: Sequence[Seen]) -> Iterator[list[Seen]]:
    """Calls in the order in which they were sent, those together that were sent at about the same time."""
    latencies = sorted(call.over - call.sent for call in calls)
    together = _TOGETHER * latencies[len(latencies) // 2] if latencies else 0
    batch: list[Seen] = []
    for call in calls:
        if batch and call.sent - batch[0].sent > together:
            yield batch
            batch = []
        batch.append(call)
    if batch:
        yield batch


class Timeline:
    """The calls of an endpoint that serves so many at once: when each was in service, and beside how many others."""

    def __init__(self, calls: Sequence[Seen], slots: int | None) -> None:
        begun = _begun(calls, slots)
        self.is_possible = all(
            begin < call.over or not call.is_served for begin, call in zip(begun, calls, strict=True)
        )
        """Whether they can have been served so: each ended after it began."""
        changes: dict[int, int] = {}
        for begin, call in zip(begun, calls, strict=True):
            if begin < call.over:
                changes[begin] = changes.get(begin, 0) + 1
                changes[call.over] = changes.get(call.over, 0) - 1
        instants = sorted(changes)
        place = {instant: index for index, instant in enumerate(instants)}
        self._spans: list[tuple[int, int]] = []
        """How long each stretch lasts, and how many are in service in it."""
        load = 0
        for index, instant in enumerate(instants[:-1]):
            load += changes[instant]
            self._spans.append((instants[index + 1] - instant, load))
        self._ends = [
            (place[begin], place[call.over]) if begin < call.over else (0, 0)
            for begin, call in zip(begun, calls, strict=True)
        ]
        """The first stretch of each call, and the one behind its last."""
        self.most = max((load for _, load in self._spans), default=0)
        """The most that were in service at once."""

    def works(self, factor: Callable[[int], float]) -> list[float]:
        """What each call would have taken alone, in ns."""
        factors = [1.0, *(factor(calls) for calls in range(1, self.most + 1))]
        done, total = [0.0], 0.0
        for length, load in self._spans:
            if load:
                total += length / factors[load]
            done.append(total)
        return [done[last] - done[first] for first, last in self._ends]

    def last_loads(self) -> list[int]:
        """How many were in service right before each call ended, itself included."""
        return [self._spans[last - 1][1] if last > first else 1 for first, last in self._ends]


def _begun(calls: Sequence[Seen], slots: int | None) -> list[int]:
    """When each call began to be served."""
    if slots is None:
        return [call.sent for call in calls]
    found: list[int] = []
    free: list[int] = []
    for call in calls:
        begin = call.sent
        if call.is_served and len(free) < slots:
            heappush(free, call.over)
        elif call.is_served:
            begin = max(call.sent, free[0])
            heapreplace(free, max(call.over, begin))
        found.append(begin)
    return found


class Weighed(NamedTuple):
    law: Law
    weight: float


def plausible(calls: Sequence[Seen]) -> list[Weighed]:
    """The laws under which an endpoint may have served these calls, with their probabilities."""
    calls = calls[:_MOST]
    found: dict[int | None, _Explained] = {None: _Explained(calls, None)}
    most = found[None].timeline.most
    for slots in _SLOTS if sum(call.counts for call in calls) >= _FEWEST else ():
        if slots < most and (explained := _Explained(calls, slots)).timeline.is_possible:
            found[slots] = explained
    roughly = {slots: max(map(each.density, _ROUGH)) for slots, each in found.items()}
    weights: dict[tuple[int | None, float, float], float] = {}
    for slots, explained in found.items():
        if slots is None or roughly[slots] > max(roughly.values()) - _FAR:
            weights.update({(slots, *each): weight for each, weight in explained.weighed().items()})
    best = max(weights.values())
    near = {key: exp(weight - best) for key, weight in weights.items() if weight > best - _LIKELY}
    total = sum(near.values())
    return [Weighed(law(*key), weight / total) for key, weight in near.items()]


class _Explained:
    """How well the laws with a number of slots explain calls."""

    def __init__(self, calls: Sequence[Seen], slots: int | None) -> None:
        self.timeline = Timeline(calls, slots)
        self._slots = slots
        self._counted = [index for index, call in enumerate(calls) if call.counts and call.is_served]
        self._loads = self.timeline.last_loads()
        self._expectations = expectations([calls[index].kind for index in self._counted])
        self._surprise = 0.0
        """Minus the logarithm of how likely it is that calls which were sent together came in the order that their ends
        show: who waits for a slot has to be in his place."""
        if slots is not None:
            counts = [sum(call.is_served for call in batch) for batch in _batches(calls)]
            self._surprise = sum(lgamma(count + 1) - lgamma(slots + 1) for count in counts if count > slots)
        self._known: dict[_Parameters, float] = {}
        self._widths: dict[_Parameters, float] = {}

    def weighed(self) -> dict[_Parameters, float]:
        """The logarithms of what laws weigh. There may be a ridge of good ones, as a run with two loads tells no more
        than how much slower the one is; so each β is looked at for itself."""
        found = [(0.0, 0.0)]
        if self.timeline.most > 1 and self._slots != 1:
            found += self._along([(0.0, beta) for beta in _BETAS[1:]], 1)
            for beta in _BETAS:
                found += self._along([(alpha, beta) for alpha in _ALPHAS[1:]], 0)
        return {each: self.density(each) + self._prior(*each) + log(self._widths.get(each, 1.0)) for each in found}

    def density(self, parameters: _Parameters) -> float:
        """The logarithm of the density of the instants at which calls ended, under a law with this α and β."""
        found = self._known.get(parameters)
        if found is None:
            found = self._known[parameters] = self._density(*parameters) if self._counted else 0.0
        return found

    def _density(self, alpha: float, beta: float) -> float:
        def factor(calls: int) -> float:
            return 1 + (calls - 1) * (alpha + beta * calls)

        works = self.timeline.works(factor)
        logs = [log(max(works[index], 1e-9)) for index in self._counted]
        slowed = sum(log(factor(self._loads[index])) for index in self._counted)
        densities = [expectation.density(logs) for expectation in self._expectations]
        top = max(densities)
        return top + log(sum(exp(each - top) for each in densities)) - sum(logs) - slowed - self._surprise

    def _prior(self, alpha: float, beta: float) -> float:
        slots = _NO_SLOTS if self._slots is None else (1 - _NO_SLOTS) / len(_SLOTS)
        of_alpha = _NO_ALPHA if not alpha else (1 - _NO_ALPHA) / (len(_ALPHAS) - 1)
        return log(slots * of_alpha * (_NO_BETA if not beta else (1 - _NO_BETA) / (len(_BETAS) - 1)))

    def _along(self, line: Sequence[_Parameters], which: int) -> Sequence[_Parameters]:
        """The laws of a line of the grid; where few of them are good, the best one between."""
        best = self._refined(max(line, key=self.density), which)
        width = self._width(best, which)
        if width >= _NARROW:
            return line
        self._widths[best] = width
        return [best]

    def _refined(self, top: _Parameters, which: int) -> _Parameters:
        """A law with one parameter varied for as long as that explains more."""
        for step in _STEPS:
            for _ in range(8):
                best = max((_varied(top, which, 1 / step), _varied(top, which, step)), key=self.density)
                if self.density(best) <= self.density(top):
                    break
                top = best
        return top

    def _width(self, best: _Parameters, which: int) -> float:
        """Which part of a cell of the grid is about as good as the best law there: at most 1."""
        grid = (_ALPHAS, _BETAS)[which]
        cell = width = log(grid[-1] / grid[1]) / (len(grid) - 2)
        while width > 1e-4 * cell and self.density(best) - self.density(_varied(best, which, exp(width / 2))) > 0.5:
            width /= 2
        return width / cell


def _varied(parameters: _Parameters, which: int, times: float) -> _Parameters:
    """Within what the grid has."""
    alpha, beta = parameters
    return (alpha, min(_BETAS[-1], beta * times)) if which else (min(_ALPHAS[-1], alpha * times), beta)
