"""What would have made a run quicker: it runs again for each change that could have, under the laws that explain it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from math import sqrt
from statistics import fmean, median, stdev

from msgspec import Struct
from msgspec.structs import replace

from apxm.advice.candidates import candidates
from apxm.advice.changes import Change
from apxm.advice.known import Known
from apxm.advice.laws import Law, Seen, Timeline, Weighed, plausible, seen_at
from apxm.advice.measured import Attempt, MeasuredRun, Node
from apxm.advice.rerun import rerun
from apxm.advice.scenario import Wall
from apxm.runtime.retries import LONGEST_RETRY_AFTER_S, RATE_LIMITED

TOLERANCE = 0.05
"""A run that takes this much more or less when it runs again with nothing changed is not explained."""
LEAST = 0.01
"""Gains of less than this part of the run are not worth telling."""
MOST = 400_000
"""About so many operations are run again, in all: some fifteen seconds."""
_QUANTILES = (0.5, 0.05, 0.25, 0.75, 0.95)
"""The laws that are tried: first those in the middle."""
_DRAWS = 5
"""How often what is left to chance is drawn."""
_FULL = 0.9
"""Refusals that come when an endpoint has this part of what it ever had in flight are about that."""


class Gain(Struct, frozen=True, kw_only=True):
    """What a change would have gained: above 0 where the run would have been shorter."""

    kind: str
    change: str
    where: str
    ms: float
    percent: float
    low_ms: float
    high_ms: float
    """Between these lie the gains under all laws that explain the run about as well, and all that is left to chance."""
    cost: float | None
    """How much more it would have cost, in the unit of prices; None where these are not known."""
    is_sure: bool
    """Whether all of them say the same: that it gains, or that it does not."""
    unseen: int | None = None
    """The most calls that the run had in flight, where there would have been more: of such a load it says nothing."""


class Advice(Struct, frozen=True, kw_only=True):
    duration_ms: float
    rerun_ms: float
    """The same, as it comes out when the run runs again with nothing changed."""
    fits: bool
    """Whether that is near enough; else there is no advice."""
    gains: tuple[Gain, ...] = ()
    """Those that are worth it, the largest first: of each thing that could be changed the best change."""
    unsure: tuple[Gain, ...] = ()
    """Those of which this run does not tell whether they would have gained or lost."""
    notes: tuple[str, ...] = ()


def advise(run: MeasuredRun, laws: Mapping[str, Law] | None = None, most: int = MOST) -> Advice:
    """`laws` are those of endpoints that are known otherwise, by name. About `most` operations are run again."""
    return Advisor(run, laws).advice(most)


class Advisor:
    def __init__(self, run: MeasuredRun, laws: Mapping[str, Law] | None = None) -> None:
        self.run = run
        found = {endpoint: _wall(run, endpoint) for endpoint in range(len(run.endpoints))}
        self._walls = {endpoint: wall for endpoint, wall in found.items() if wall is not None}
        self._known_laws = {
            endpoint: laws[each.name] for endpoint, each in enumerate(run.endpoints) if laws and each.name in laws
        }
        self._weighed = [
            [Weighed(self._known_laws[endpoint], 1.0)]
            if endpoint in self._known_laws
            else plausible(self._accepted(endpoint))
            for endpoint in range(len(run.endpoints))
        ]
        self._explained: list[_Explained] = []

    def advice(self, most: int = MOST) -> Advice:
        least = LEAST * self.run.duration / 1e6
        whole = Advice(duration_ms=self.run.duration / 1e6, rerun_ms=self.rerun / 1e6, fits=self.fits)
        if not whole.fits:
            return whole
        left = most // max(1, len(self.run.nodes)) - 1
        changes = list(candidates(self._middle.known))
        notes: list[str] = []
        if left < len(changes):
            notes.append(f"{len(changes) - max(0, left)} of {len(changes)} changes were not tried: the run is large.")
            changes = changes[: max(0, left)]
        tried = [(each, self.gain(each)) for each in changes]
        left -= len(changes)
        found: dict[Hashable, Gain] = {}
        for change, roughly in sorted(tried, key=lambda each: -each[1].ms):
            if roughly.ms < least:
                break
            gain = roughly
            if left >= len(_QUANTILES):
                gain = self.gain(change, len(_QUANTILES))
                left -= len(_QUANTILES)
            known = found.get(change.about)
            if known is None or (known.is_sure, known.ms) < (gain.is_sure, gain.ms):
                found[change.about] = gain
        ordered = sorted(found.values(), key=lambda gain: -gain.ms)
        return replace(
            whole,
            gains=tuple(gain for gain in ordered if gain.is_sure),
            unsure=tuple(gain for gain in ordered if not gain.is_sure),
            notes=tuple(notes),
        )

    @cached_property
    def rerun(self) -> int:
        """How long the run takes, in ns, when it runs again with nothing changed: what was refused is refused again."""
        middle = self._middle
        if not self._walls:
            return middle.base
        return rerun(Known(self.run, self._laws[0], self._walls, refuses=False).scenario()).duration

    @property
    def fits(self) -> bool:
        """Whether that is near enough to how long it took."""
        return abs(self.rerun - self.run.duration) <= TOLERANCE * self.run.duration

    def gain(self, change: Change, laws: int = 1) -> Gain:
        """What a change gains under the laws in the middle; and its range, under as many as `laws`."""
        middle = self._middle
        scenario = change.made(middle.known, middle.scenario)
        made = rerun(scenario)
        gains = [middle.gain(made.duration)]
        if scenario.walls or middle.known.walls or made.hedged:
            others = [replace(scenario, seed=seed) for seed in range(1, _DRAWS)]
            gains += [middle.gain(rerun(each).duration) for each in others]
        error = stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else 0.0
        ms = fmean(gains)
        ends = [ms - 2 * error, ms + 2 * error]
        for number in range(1, min(laws, len(self._laws))):
            other = self._explain(number)
            ends.append(other.gain(rerun(change.made(other.known, other.scenario)).duration))
        most = middle.known.most_in_flight
        more = [endpoint for endpoint, now in enumerate(made.most) if now > most[endpoint]]
        unseen = [endpoint for endpoint in more if endpoint not in self._known_laws]
        if unseen:  # perhaps it serves no more at once than it had to
            full = [each._replace(slots=most[i]) if i in unseen else each for i, each in enumerate(scenario.laws)]
            ends.append(middle.gain(rerun(replace(scenario, laws=full)).duration))
        duration = self.run.duration / 1e6
        return Gain(
            kind=change.kind,
            change=change.title(self.run),
            where=change.where(self.run),
            ms=ms,
            percent=100 * ms / duration if duration else 0.0,
            low_ms=min(ends),
            high_ms=max(ends),
            cost=change.cost(middle.known, made),
            is_sure=min(ends) >= -LEAST * duration or max(ends) <= LEAST * duration,
            unseen=max(most[endpoint] for endpoint in unseen) if unseen else None,
        )

    @property
    def _middle(self) -> _Explained:
        return self._explain(0)

    def _explain(self, number: int) -> _Explained:
        for each in self._laws[len(self._explained) : number + 1]:
            self._explained.append(_Explained(Known(self.run, each, self._walls)))
        return self._explained[number]

    @cached_property
    def _laws(self) -> list[tuple[Law, ...]]:
        """Those that are tried, for each endpoint one; those in the middle first."""
        ordered: list[list[Weighed]] = []
        for endpoint, weighed in enumerate(self._weighed):
            load = max(2, Timeline(self._accepted(endpoint), None).most)
            # Under a higher load than the run's, as that is where they differ.
            ordered.append(sorted(weighed, key=lambda e: (e.law.throughput(4 * load), e.law.throughput(load))))
        return list(dict.fromkeys(tuple(_quantile(laws, share) for laws in ordered) for share in _QUANTILES))

    def _accepted(self, endpoint: int) -> Sequence[Seen]:
        return seen_at(self.run, endpoint, RATE_LIMITED if endpoint in self._walls else None)


class _Explained:
    """The run under some laws."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.scenario = known.scenario()
        # Pauses between retries are drawn: those that it had were one draw of many, and no reason to expect them again.
        self.base = known.run.duration if known.walls else rerun(self.scenario).duration
        """What a changed run is compared with, in ns."""

    def gain(self, duration: float) -> float:
        """In ms."""
        return (self.base - duration) / 1e6


def _quantile(laws: Sequence[Weighed], share: float) -> Law:
    total = 0.0
    for each in laws:
        total += each.weight
        if total >= share:
            return each.law
    return laws[-1].law


def _wall(run: MeasuredRun, endpoint: int) -> Wall | None:
    """Where an endpoint refuses what is one call too many: refusals came when it had about as many in flight as it ever
    had."""
    refused = [
        (node, index, attempt)
        for node in run.nodes
        if node.endpoint == endpoint
        for index, attempt in enumerate(node.attempts)
        if attempt.outcome == RATE_LIMITED
    ]
    accepted = seen_at(run, endpoint, RATE_LIMITED)
    most = Timeline(accepted, None).most
    loads = [sum(call.sent <= each.sent < call.over for call in accepted) for _, _, each in refused]
    if not loads or not most or median(loads) < _FULL * most:
        return None
    latency = round(median(each.latency for _, _, each in refused))
    return Wall(most, latency, _retry_after(run, endpoint, refused))


def _retry_after(run: MeasuredRun, endpoint: int, refused: Sequence[tuple[Node, int, Attempt]]) -> float:
    """How long an endpoint asks to be left alone when it refuses a call, in seconds, as far as it shows: so long nobody
    asks it again; or, where it is found out how many calls it bears, not the same call."""
    if run.endpoints[endpoint].is_adaptive:
        again = [
            node.attempts[index + 1].granted - attempt.received
            for node, index, attempt in refused
            if index + 1 < len(node.attempts)
        ]
    else:
        grants = sorted(each.granted for node in run.nodes if node.endpoint == endpoint for each in node.attempts)
        later = [(attempt.received, bisect_right(grants, attempt.received)) for _, _, attempt in refused]
        again = [grants[place] - received for received, place in later if place < len(grants)]
    return min(min(again, default=0) / 1e9, LONGEST_RETRY_AFTER_S)
