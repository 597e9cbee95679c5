"""How many calls in flight an endpoint is given whose limit nobody has configured: a state machine without a clock.

Events come in with their instants, and `limit` is what follows. Two things are looked for.

*Throughput.* Rounds of a few hundred answers are compared. By Little's law throughput is calls in flight over latency,
so latency that grows as fast as the calls in flight is throughput that does not. The limit follows the sign of the
elasticity d ln throughput / d ln limit, less a little that prefers fewer calls, by small steps where it is flat and by
doubling or halving where it is steep: hill climbing, as Kiefer and Wolfowitz ("Stochastic Estimation of the Maximum of
a Regression Function", 1952), on a curve that is Gunther's universal scalability law or a queue. That the ratio of
latencies at two loads tells how full an endpoint is, is from TCP Vegas (Brakmo and Peterson, 1995) and Netflix'
concurrency-limits (Gradient2, 2018); that the throughput is to be measured, and not guessed from losses, is from BBR
(Cardwell et al., 2016), whose product of bandwidth and least latency would be too few calls where calls slow each other
down gradually.

*Refusals.* A refusal says how many the endpoint bore at that moment: the others that are in flight. All that were sent
before it was heard are one signal (one per round trip: Jacobson, "Congestion Avoidance and Control", 1988). That many
is a ceiling; to look above it costs refusals, so it is done by few calls at a time, and as seldom as keeps them below
one in a hundred. Refusals that stay as frequent when the limit has been halved are not about concurrency, and are put
up with (as BBRv2 puts up with a share of losses).
"""

from __future__ import annotations

from math import ceil, log

from msgspec import Struct

BURST = 1024
"""As many calls go at once where nobody knows anything yet, and no more are wanted: a fan-out is over after one round
trip, and nothing could be learned from it in time."""
START = 64
"""With so many it begins where more than `BURST` are wanted at once."""
SAMPLES = 200
"""The least answers of a round: so throughput is known to 5%, with latencies that vary by half."""
ROUGH_SAMPLES = 50
"""The least of one that twice or half as many calls in flight are compared with."""
STEP = 1.25
STEEP = 0.7
"""Elasticities above it double the limit, those below `FALLING` halve it."""
FALLING = -0.5
FLAT = 0.05
"""Elasticities below it are not worth more calls in flight."""
UNSLOWED = 1.25
"""Latencies that differ by less, at loads of which one is twice the other, are the same."""
STEADY_ROUNDS = 2
"""After so many rounds of the same load, calls that wait for nobody are a long job, worth a look at fewer of them."""
HELD_ROUNDS = 8
"""After so many rounds at the ceiling it is worth a look whether fewer calls would be answered as fast."""
CUT = 0.8
ANSWERS_PER_REFUSAL = 100
FAR_BEHIND = 4
"""After so many answers for each call in flight the ceiling is looked at again, however many it refused."""
TOLERANCE = 0.05
"""By so much may the share of refusals that are put up with be misjudged."""
REBUFFS = 8
"""So many refusals in a row, of calls that were sent after the one before was heard: the endpoint takes nobody."""


class _Series(Struct):
    """Cuts that follow each other."""

    before: float
    """The limit before the first of them."""
    since: int
    sent: int = 0
    """Calls since then, and those of them that were refused."""
    refused: int = 0


class AdaptiveLimit:
    def __init__(self) -> None:
        self._limit = float(BURST)
        self._cold = True
        """Whether nothing has been asked of it yet."""
        self._in_flight = 0
        # The round that is being measured.
        self._begun = 0
        self._seen = 0
        """The instant of the last event."""
        self._area = 0
        """Nanoseconds in flight, of all calls together."""
        self._answers = 0
        self._latency = 0
        self._crowded = False
        """Whether others waited for leave when an answer came."""
        self._least = self._most = 0
        """In flight."""
        self._refusals = 0
        self._settling = 0
        """Ends of calls that say nothing, as they were sent under another limit."""
        # What is known of throughput.
        self._last: tuple[float, float] | None = None
        """Calls in flight and throughput of the round before."""
        self._upwards = True
        self._samples = ROUGH_SAMPLES
        self._moved = False
        self._looking = False
        """Whether there are fewer calls in flight than could be, to see what that makes of their latency."""
        self._lowest: tuple[float, float] | None = None
        """Calls in flight and latency of the round with the lowest one."""
        self._unslowed = 0.0
        """The latency at which a look at fewer calls in flight found that they would take as long."""
        self._steady = 0
        self._held = 0
        # What is known of refusals.
        self._ceiling: int | None = None
        """The most that were borne."""
        self._proven: int | None = None
        """The ceiling before it was raised, until that has turned out well."""
        self._rise = 1
        self._owed = 0
        """Answers before the ceiling is raised."""
        self._earned = 0
        self._cut_at = -1
        """When the last refusal was heard that was a signal."""
        self._lowers = False
        """Whether what else of its burst is refused lowers the ceiling."""
        self._recovering = False
        self._series: _Series | None = None
        self._sent = self._refused = 0
        """Calls, and those that were refused, lately."""
        self._background: float | None = None
        """The part that is refused whatever the limit."""
        self._rebuffs = REBUFFS
        """Signals since the last answer."""

    @property
    def limit(self) -> int:
        """Most calls in flight, at least 1."""
        return int(self._limit)

    @property
    def refuses_all(self) -> bool:
        """Whether the endpoint takes no call at present, as far as anybody knows."""
        return self._rebuffs >= REBUFFS

    # --- events ----------------------------------------------------------------------------------------------------

    def wanted(self, calls: int) -> None:
        """So many are wanted at once."""
        if self._cold:
            self._cold = False
            if calls > BURST:
                self._limit = START

    def began(self, now: int) -> None:
        self._pass(now)
        self._in_flight = in_flight = self._in_flight + 1
        self._sent += 1
        if self._sent > 1024 + 4 * in_flight:
            self._sent, self._refused = self._sent // 2, self._refused // 2
        if self._series is not None:
            self._series.sent += 1
        if in_flight > self._most:
            self._most = in_flight
        if not self._answers:
            self._least = in_flight  # it is being filled

    def ended(self, now: int) -> None:
        """A call is over that says nothing: it failed, or was given up."""
        self._pass(now)
        self._in_flight -= 1
        self._settle(now)

    def answered(self, latency: int, now: int, *, waiting: bool) -> None:
        """A call was answered, while others waited for leave or none."""
        self._pass(now)
        self._in_flight -= 1
        self._rebuffs = 0
        self._earned += 1
        if waiting and self._ceiling is not None:
            if self._recovering:
                self._recover(self._ceiling, now)
                return
            if self._limit >= self._ceiling and self._earned >= self._owed:
                self._raise(self._ceiling)
        if self._settle(now) or now == self._begun:
            return
        self._answers += 1
        self._latency += latency
        self._crowded |= waiting
        if self._in_flight < self._least:
            self._least = self._in_flight
        if self._answers >= self._samples:
            # Whole rounds: calls of equal length end together.
            wave = max(1, min(self.limit, self._most))
            if self._answers >= ceil(self._samples / wave) * wave:
                self._end_round(now)

    def refused(self, granted: int, now: int) -> None:
        """A call that was granted at `granted` was one too many."""
        self._pass(now)
        self._in_flight -= 1
        self._refusals += 1
        self._refused += 1
        if self._series is not None and granted > self._series.since:
            self._series.refused += 1
        if granted <= self._cut_at:
            self._owed += ANSWERS_PER_REFUSAL
            if self._lowers and self._ceiling is not None:
                self._ceiling = min(self._ceiling, max(1, self._in_flight))
                self._limit = min(self._limit, self._ceiling)
            self._owed = min(self._owed, self._most_owed)
            self._settle(now)
        elif self._background is None or self._share > 2 * self._background + TOLERANCE:
            self._cut(now)
        else:
            self._settle(now)
        if not self._in_flight and self._series is not None:
            # It bore none, which says nothing of how many it bears when it is back.
            self._ceiling, self._limit, self._recovering = int(self._series.before), 1.0, True

    # --- refusals --------------------------------------------------------------------------------------------------

    def _cut(self, now: int) -> None:
        borne = max(1, self._in_flight)
        answered = self._rebuffs == 0
        self._rebuffs += 1
        self._cut_at = now
        self._background = None
        if self._proven is not None:  # it was raised too far
            self._ceiling, self._proven = self._proven, None
            self._limit = min(self._limit, self._ceiling)
            self._lowers = False
        else:
            series = self._series = self._series or _Series(self._limit, now)
            if self._ceiling is None or answered:
                self._ceiling = borne
            self._limit = max(1.0, CUT * min(self._limit, borne))
            self._lowers = self._recovering = True
            if series.before >= REBUFFS and self._limit < series.before / 2 and series.sent > 3 * series.refused:
                self._background = series.refused / series.sent
                self._ceiling, self._limit, self._series = None, series.before, None
                self._lowers = self._recovering = False
        self._earned = 0
        self._rise = max(1, (self._ceiling or 0) // 32)
        self._owed = min(ANSWERS_PER_REFUSAL, self._most_owed)
        self._measure_anew(now)

    @property
    def _share(self) -> float:
        """The part of calls that is refused, lately."""
        return self._refused / max(1, self._sent)

    @property
    def _most_owed(self) -> int:
        return max(ANSWERS_PER_REFUSAL, FAR_BEHIND * (self._ceiling or 0))

    def _recover(self, ceiling: int, now: int) -> None:
        """After a cut, with each answer: doubling up to half of what was borne, then by a tenth each round."""
        self._limit = min(ceiling, self._limit + (1 if self._limit < ceiling / 2 else 0.1))
        if self._limit >= ceiling:
            self._recovering = False
            self._measure_anew(now)

    def _raise(self, ceiling: int) -> None:
        """Looks above the ceiling: by more each time that it turns out well."""
        if self._proven is not None:
            self._rise *= 2
        self._proven = ceiling
        self._ceiling = self._owed = ceiling + self._rise
        self._earned = 0
        self._limit = self._ceiling

    # --- throughput ------------------------------------------------------------------------------------------------

    def _pass(self, now: int) -> None:
        passed, self._seen = now - self._seen, now
        if self._in_flight:
            self._area += self._in_flight * passed
        else:
            self._begun += passed  # time in which nobody asked for anything is no part of a round

    def _settle(self, now: int) -> bool:
        if not self._settling:
            return False
        self._settling -= 1
        if not self._settling:
            self._begin_round(now)
        return True

    def _begin_round(self, now: int) -> None:
        self._begun, self._area, self._answers, self._latency, self._crowded = now, 0, 0, 0, False
        self._least = self._most = self._in_flight
        self._refusals = 0

    def _measure_anew(self, now: int) -> None:
        self._last = None
        self._settling = self._in_flight
        if not self._settling:
            self._begin_round(now)

    def _end_round(self, now: int) -> None:
        latency, passed = self._latency / self._answers, max(1, now - self._begun)
        load, throughput = max(self._area / passed, 1e-9), self._answers / passed
        crowded = self._crowded
        self._steady = self._steady + 1 if crowded or self._least + 1 >= CUT * load else 0
        if not self._refusals:
            self._series = self._background = None
        elif self._background is not None:
            self._background = self._share
        unslowed = self._is_unslowed(load, latency)
        last, self._last = self._last, None
        if not self._steady or (not crowded and (unslowed or self._steady < STEADY_ROUNDS)):
            self._begin_round(now)
            return
        self._last = load, throughput
        if self._ceiling is not None and self._limit >= self._ceiling:
            self._held += 1
            if self._held < HELD_ROUNDS:
                self._begin_round(now)
            else:
                self._held, self._samples = 0, ROUGH_SAMPLES
                self._move(load / STEP, now)
            return
        factor = self._factor(load, throughput, latency, last, crowded=crowded, unslowed=unslowed)
        self._samples = SAMPLES if 1 / STEP <= factor <= STEP else ROUGH_SAMPLES
        self._looking = not crowded and factor < 1
        limit = (max(load, self._limit) if unslowed else load) * factor
        self._move(max(limit, round(load) + 1) if factor > 1 else limit, now)

    def _is_unslowed(self, load: float, latency: float) -> bool:
        """Whether calls take no longer than under a lower load."""
        if self._lowest is None or latency < self._lowest[1]:
            self._lowest = load, latency
        lower, least = self._lowest
        return latency <= UNSLOWED * max(least if load >= 1.9 * lower else 0, self._unslowed)

    def _factor(
        self,
        load: float,
        throughput: float,
        latency: float,
        last: tuple[float, float] | None,
        *,
        crowded: bool,
        unslowed: bool,
    ) -> float:
        """By how much the next round has more calls in flight."""
        if last is None or abs(log(load / last[0])) < FLAT:
            if crowded and not self._moved:  # of many at once it is safer to look at fewer first
                return 2 if load <= 1.1 * START else 0.5
            return STEP if crowded and self._upwards else 1 / STEP
        elasticity = log(throughput / last[1]) / log(load / last[0])
        self._upwards = elasticity > FLAT
        if self._looking and elasticity > STEEP:
            self._unslowed = latency
        if elasticity > (FLAT if unslowed else STEEP):
            return 2
        return 0.5 if elasticity < FALLING else STEP if self._upwards else 1 / STEP

    def _move(self, limit: float, now: int) -> None:
        self._moved = True
        limit = max(1.0, limit)
        self._limit = limit if self._ceiling is None else min(limit, self._ceiling)
        self._settling = self._in_flight
        if not self._settling:
            self._begin_round(now)
