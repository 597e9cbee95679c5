"""What the calls of an engine cost, from calls that were measured.

The very calls, at the instants at which they were sent and with the tokens that they had, go through the model
(`backends/engine.py`); the costs are those with which it gives their times back most nearly, in squared errors of
logarithms. Slots, chunks and a cache are taken to be there only where they explain clearly more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from math import exp, log, sqrt
from random import Random
from statistics import fmean
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from apxm.analysis.least_squares import SETTLED, Fit, Vector, inverted, least_squares
from apxm.backends.engine import Costs, Engine, Tokens
from apxm.backends.latency import MAX_LATENCY_MS, MAX_SIGMA, MAX_TOKENS

UNITS = 1_000_000_000
"""Parts of a ms in which the model counts: finer than the clock, so that a small change of a cost shows."""
_CHUNKS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
_SLOTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64)
_EVIDENCE = 12.0
"""How much the criterion has to fall for a queue, a chunk or a cache: as for three and a half standard errors."""
_LEAST_ERROR = 0.002
"""No time is explained better than to this part of it."""
_EXACT = 1e-4
"""An engine whose times are explained to this part of them does not vary."""
_LEAST_MS = 1e-6
_TIMES, _DRAWS, _DRAWN = 2, 24, 0.1
"""How often ratios are drawn, and their σ at first, to see how they show."""
_SHARES = (0.95, 0.75, 0.5, 0.25, 0.05)
"""Of what each further token takes, the part that may be the iteration's."""
_ABOUT = 1e-3
"""How nearly the squares of a shape are known by which it is chosen."""
_TRIED = 2
"""From how many starts a fit is tried, those that explain most."""
_OUTLIER = 3.0
"""Residuals beyond so many standard deviations weigh less (Huber)."""


class Observed(NamedTuple):
    """A call that was measured."""

    sent_ms: float
    """Since its round began."""
    tokens: Tokens
    took_ms: float
    first_ms: float | None = None
    """Until the first part of its answer; None where it came whole."""
    batch: int = 0
    """Calls of a batch were made at about the same time."""


Round = Sequence[Observed]
"""Calls that met each other, and no others."""


class EngineFit(Struct, frozen=True, kw_only=True):
    """What a call costs at an endpoint, in tokens: times in ms, as in `backends/engine.py`."""

    fixed_ms: float
    step_ms: float
    prefill_ms: float
    decode_ms: float
    slots: int | None = None
    chunk: int | None = None
    cache: bool = False
    spread: float = 0.0
    """σ of the log-normal ratios by which a call's own costs vary."""
    drift: float = 0.0
    """σ of those by which all costs vary from one time to another."""
    covariance: tuple[tuple[float, ...], ...] = ()
    """Of the four times, in their order; empty where they are exact."""
    characters_per_token: float = 4.0
    tokens_per_call: float = 0.0
    """Tokens of a prompt beside those of its text."""
    answer_tokens: int | None = None
    """Median length of answers that nothing limits; None where that is not known."""
    answer_spread: float = 0.0
    """σ of these lengths."""
    unknown: tuple[str, ...] = ()
    """What the calibration could not learn, in words."""

    def __post_init__(self) -> None:
        for name in ("fixed_ms", "step_ms", "prefill_ms", "decode_ms"):
            if not 0 <= getattr(self, name) <= MAX_LATENCY_MS:
                raise ValueError(f"the {name} of its engine must be between 0 and {MAX_LATENCY_MS:,}")
        for name in ("spread", "drift", "answer_spread"):
            if not 0 <= getattr(self, name) <= MAX_SIGMA:
                raise ValueError(f"the {name} of its engine must be between 0 and {MAX_SIGMA:g}")
        for name in ("slots", "chunk", "answer_tokens"):
            number = getattr(self, name)
            if number is not None and not 0 < number <= MAX_TOKENS:
                raise ValueError(f"the {name} of its engine must be between 1 and {MAX_TOKENS:,}, or null")
        if not 0.01 <= self.characters_per_token <= 1000 or not 0 <= self.tokens_per_call <= MAX_TOKENS:
            raise ValueError(
                "a token of its engine must have 0.01 to 1,000 characters, and a call no fewer than 0 tokens"
            )
        if self.covariance and [len(row) for row in self.covariance] != [4] * 4:
            raise ValueError("the covariance of its engine must be of four times")

    @property
    def times(self) -> tuple[float, float, float, float]:
        return self.fixed_ms, self.step_ms, self.prefill_ms, self.decode_ms

    @property
    def errors(self) -> tuple[float, ...]:
        """Standard errors of the four times."""
        return tuple(sqrt(max(0.0, row[i])) for i, row in enumerate(self.covariance)) or (0.0,) * 4

    def costs(self, times: Sequence[float] | None = None, units: int = 1_000_000) -> Costs:
        """The engine with these times, or other ones: in ns, or so many parts of a ms."""
        fixed, step, prefill, decode = (round(time * units) for time in times or self.times)
        return Costs(fixed, step, prefill, decode, self.slots, self.chunk, self.cache)

    def prompt_tokens(self, characters: float) -> int:
        return max(1, round(self.tokens_per_call + characters / self.characters_per_token))

    def alone_ms(self, tokens: Tokens) -> float:
        """What a call takes that meets no other one."""
        ((_, over),) = simulated(self.costs(units=UNITS), [[Observed(0.0, tokens, 1.0)]])
        return over


def simulated(
    costs: Costs, rounds: Iterable[Round], ratios: Iterator[float] | None = None
) -> Iterator[tuple[float, float]]:
    """When each call has its first token and its last, in ms since it was sent; `costs` are in `UNITS`."""
    engine = Engine(costs)
    ratios = ratios or repeat(1.0)
    for calls in rounds:
        made = [(call, engine.add(call.tokens, round(call.sent_ms * UNITS), next(ratios))) for call in calls]
        engine.advance(None)
        for call, at in made:
            assert at.first is not None
            assert at.over is not None
            yield max(_LEAST_MS, at.first / UNITS - call.sent_ms), max(_LEAST_MS, at.over / UNITS - call.sent_ms)


def fitted(rounds: Sequence[Round], cache_known: bool | None, most_at_once: int) -> EngineFit:
    """The engine that explains the rounds; `cache_known` says whether it has a cache where that is known otherwise."""
    return _Fitting(rounds, most_at_once).best(cache_known)


def relative_error(engine: EngineFit, predicted: Callable[[EngineFit], float]) -> float:
    """The standard error of what is predicted from the costs, as a part of it, by the errors of these."""
    if not engine.covariance:
        return 0.0
    names = ("fixed_ms", "step_ms", "prefill_ms", "decode_ms")
    whole = predicted(engine)
    slopes: list[float] = []
    for name, error in zip(names, engine.errors, strict=True):
        by = max(0.1 * error, 1e-9)
        slopes.append((predicted(replace(engine, **{name: getattr(engine, name) + by})) - whole) / by)
    variance = sum(
        a * b * each
        for a, row in zip(slopes, engine.covariance, strict=True)
        for b, each in zip(slopes, row, strict=True)
    )
    return sqrt(max(0.0, variance)) / whole


class _Shape(NamedTuple):
    """What is no number that can be changed a little."""

    slots: int | None = None
    chunk: int | None = None
    cache: bool = False

    def costs(self, times: Vector) -> Costs:
        fixed, step, prefill, decode = (round(time * UNITS) for time in times)
        return Costs(fixed, step, prefill, decode, self.slots, self.chunk, self.cache)


class _Order(NamedTuple):
    """The calls in the order in which they may have come to the engine."""

    rounds: Sequence[Round]
    places: Sequence[int]
    """Where each call is now, counted over all rounds."""


class _Fitting:
    def __init__(self, rounds: Sequence[Round], most_at_once: int) -> None:
        self._rounds = [sorted(calls, key=lambda call: call.sent_ms) for calls in rounds]
        self._calls = [call for calls in self._rounds for call in calls]
        self._most = most_at_once
        self._fits: dict[_Shape, tuple[_Order, Fit]] = {}
        self._weights = [1.0] * (len(self._calls) + sum(call.first_ms is not None for call in self._calls))
        self._offsets = [0.0] * len(self._weights)
        """How much longer, in logarithms, each takes than calls that do not vary."""
        self._scales = self._small_changes()
        self._alone = base, prefill, token = self._plane()

        def sent(call: Observed) -> float:
            return call.sent_ms

        def begun(call: Observed) -> float:
            """About when it was served, from when it ended."""
            return self._ended(call) - base - prefill * call.tokens.prompt - token * max(0, call.tokens.answer - 1)

        self._orders = [self._arriving(key) for key in (sent, self._ended, begun)]
        """In which order calls that were sent together may have come to the engine: nobody says it."""

    @staticmethod
    def _ended(call: Observed) -> float:
        return call.sent_ms + call.took_ms

    def _arriving(self, key: Callable[[Observed], float]) -> _Order:
        """The rounds with the calls in such an order, at the instants at which calls were sent; and their places."""
        rounds: list[Round] = []
        places: list[int] = []
        for calls in self._rounds:
            order = sorted(range(len(calls)), key=lambda i: key(calls[i]))
            rounds.append([calls[i]._replace(sent_ms=calls[at].sent_ms) for at, i in enumerate(order)])
            first = len(places)
            back = sorted(range(len(calls)), key=order.__getitem__)
            places += [first + at for at in back]
        return _Order(rounds, places)

    def best(self, cache_known: bool | None) -> EngineFit:
        shape = _Shape(cache=bool(cache_known))
        for _ in range(2):
            shape = self._better(shape, [shape._replace(slots=n) for n in (None, *_SLOTS) if (n or 0) < self._most])
            shape = self._better(shape, [shape._replace(chunk=n) for n in (None, *self._chunks())])
        if cache_known is None:
            shape = self._better(shape, [shape._replace(cache=True)])
        return self._described(shape)

    def _chunks(self) -> Iterable[int]:
        """Those that would show: a prompt, or all that come together, are longer."""
        most = max(sum(call.tokens.prompt for call in calls) for calls in self._rounds)
        return [chunk for chunk in _CHUNKS if chunk < most]

    def _better(self, shape: _Shape, others: Sequence[_Shape]) -> _Shape:
        """One of the others, where it explains clearly more; a simpler one where it explains as much."""

        def price(each: _Shape) -> float:
            free = (each.slots is not None) + (each.chunk is not None) + each.cache
            return self._criterion(self._fit(each)[1]) + _EVIDENCE * free

        return min([shape, *others], key=price)

    def _criterion(self, fit: Fit) -> float:
        count = len(fit.residuals)
        return count * log(fit.squares / count + _LEAST_ERROR**2)

    def _fit(self, shape: _Shape) -> tuple[_Order, Fit]:
        if shape not in self._fits:
            starts = [self._start(shape, share) for share in _SHARES]
            if self._fits:
                starts.append(min(self._fits.values(), key=lambda found: found[1].squares)[1].numbers)

            def squares(start: tuple[_Order, Vector]) -> float:
                return sum(each * each for each in self._residuals(shape, *start))

            # Who gets a slot next may change with the costs, so there are several hollows.
            tried = sorted(((order, start) for order in self._orders for start in starts), key=squares)[:_TRIED]
            fits = [(order, self._least(shape, order, start, _ABOUT)) for order, start in tried]
            self._fits[shape] = min(fits, key=lambda found: found[1].squares)
        return self._fits[shape]

    def _least(self, shape: _Shape, order: _Order, start: Vector, settled: float = SETTLED) -> Fit:
        return least_squares(lambda times: self._residuals(shape, order, times), start, self._scales, settled)

    def _robust(self, shape: _Shape) -> Fit:
        """The fit again, where calls that are far off weigh less."""
        order, about = self._fit(shape)
        fit = self._least(shape, order, about.numbers)
        middle = sorted(map(abs, fit.residuals))[len(fit.residuals) // 2] / 0.6745
        limit = _OUTLIER * max(middle, _LEAST_ERROR)
        if max(map(abs, fit.residuals)) <= limit:
            return fit
        self._weights = [min(1.0, sqrt(limit / abs(each))) if each else 1.0 for each in fit.residuals]
        robust = self._least(shape, order, fit.numbers)
        self._weights = [1.0] * len(self._weights)
        return robust._replace(residuals=tuple(self._residuals(shape, order, robust.numbers)))

    def _residuals(self, shape: _Shape, order: _Order, times: Vector) -> list[float]:
        """Of the times of all calls, and then of the first tokens that are known."""
        found = list(simulated(shape.costs(times), order.rounds))
        took = [log(found[place][1] / call.took_ms) for place, call in zip(order.places, self._calls, strict=True)]
        first = [
            log(found[place][0] / call.first_ms)
            for place, call in zip(order.places, self._calls, strict=True)
            if call.first_ms is not None
        ]
        return [
            (each + offset) * weight
            for each, offset, weight in zip(took + first, self._offsets, self._weights, strict=True)
        ]

    def _plane(self) -> tuple[float, float, float]:
        """What a call costs that meets no others, and each token of a prompt and of an answer: a straight plane."""
        alone = [calls[0] for calls in self._rounds if len(calls) == 1] or self._calls
        rows = [(1.0, float(call.tokens.prompt), float(max(0, call.tokens.answer - 1))) for call in alone]
        weighted = [[each / call.took_ms for each in row] for row, call in zip(rows, alone, strict=True)]
        normal = [[sum(row[i] * row[j] for row in weighted) for j in range(3)] for i in range(3)]
        right = [sum(row[i] for row in weighted) for i in range(3)]
        base, prefill, token = (sum(a * b for a, b in zip(row, right, strict=True)) for row in inverted(normal))
        return base, prefill, token

    def _start(self, shape: _Shape, share: float) -> Vector:
        """The costs of a call alone, of whose token such a share is the iteration's."""
        base, prefill, token = self._alone
        step = share * token
        if shape.chunk is not None:
            prefill -= step / shape.chunk
        return tuple(map(max, (base - step, step, prefill, token - step), self._scales))

    def _small_changes(self) -> tuple[float, float, float, float]:
        count = len(self._calls)
        took = sum(call.took_ms for call in self._calls) / count
        prompt = sum(call.tokens.prompt for call in self._calls) / count
        answer = sum(call.tokens.answer for call in self._calls) / count
        small = 1e-4 * took
        return small, small / max(1.0, answer), small / max(1.0, prompt), small / max(1.0, answer)

    def _described(self, shape: _Shape) -> EngineFit:
        fit = self._robust(shape)
        if fit.squares / len(fit.residuals) < _EXACT**2:
            return _engine(shape, fit.numbers, ())
        # Calls that vary wait for sums of others, whose mean is above their median: that is no cost of any call.
        _, _, self._offsets = self._variation(shape, fit)
        fit = self._robust(shape)
        spread, drift, _ = self._variation(shape, fit)
        rounds = [number for number, calls in enumerate(self._rounds) for _ in calls]
        firsts = [number for number, call in zip(rounds, self._calls, strict=True) if call.first_ms is not None]
        # What calls that met each other have in common is no less common for being seen of each.
        return replace(_engine(shape, fit.numbers, fit.covariance(rounds + firsts)), spread=spread, drift=drift)

    def _variation(self, shape: _Shape, fit: Fit) -> tuple[float, float, list[float]]:
        """σ of the ratios of single calls, and of those of whole batches; and how much longer, in logarithms, ratios
        make the times of each call and of each first token.

        How ratios show in the times of calls that hold each other up is found by drawing some.
        """
        costs = shape.costs(fit.numbers)
        plain = list(simulated(costs, self._rounds))
        seen = self._by_batch(fit.residuals[: len(self._calls)])
        random = Random(0)
        spread, between, longer = _DRAWN, 0.0, [0.0] * len(fit.residuals)
        for _ in range(_TIMES):  # large ratios show otherwise than small ones: the second time with those found
            draws = [self._drawn(costs, plain, spread, random) for _ in range(_DRAWS)]
            variances = [self._by_batch(drawn[: len(self._calls)]) for drawn in draws]
            within, between = (fmean(each) for each in zip(*variances, strict=True))
            longer = [fmean(each) for each in zip(*draws, strict=True)]
            times = seen[0] / within if within else 0.0
            spread, between = min(MAX_SIGMA, spread * sqrt(times)), times * between
        return spread, sqrt(max(0.0, seen[1] - between)), longer

    def _drawn(self, costs: Costs, plain: Sequence[tuple[float, float]], spread: float, random: Random) -> list[float]:
        """How much longer some ratios make each call, and each first token that is known."""
        ratios = iter([exp(spread * random.gauss(0, 1)) for _ in self._calls])
        drawn = list(simulated(costs, self._rounds, ratios))
        took = [log(b / a) for (_, a), (_, b) in zip(plain, drawn, strict=True)]
        first = [
            log(b / a)
            for call, (a, _), (b, _) in zip(self._calls, plain, drawn, strict=True)
            if call.first_ms is not None
        ]
        return took + first

    def _by_batch(self, residuals: Sequence[float]) -> tuple[float, float]:
        """The variance of calls around the mean of their batch, and that of these means."""
        batches: dict[int, list[float]] = {}
        for call, each in zip(self._calls, residuals, strict=True):
            batches.setdefault(call.batch, []).append(each)
        means = [fmean(found) for found in batches.values()]
        inside = sum((each - mean) ** 2 for found, mean in zip(batches.values(), means, strict=True) for each in found)
        middle = fmean(means)
        between = sum((mean - middle) ** 2 for mean in means) / max(1, len(means) - 1)
        return inside / max(1, len(residuals) - len(means)), between


def _engine(shape: _Shape, times: Vector, covariance: Sequence[Sequence[float]]) -> EngineFit:
    fixed, step, prefill, decode = times
    return EngineFit(
        fixed_ms=fixed,
        step_ms=step,
        prefill_ms=prefill,
        decode_ms=decode,
        slots=shape.slots,
        chunk=shape.chunk,
        cache=shape.cache,
        covariance=tuple(map(tuple, covariance)),
    )
