"""What calls may be expected to bring to an endpoint: the same, or as much as their tokens say, and more or less where
others of their place do, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from operator import mul
from typing import NamedTuple

from apxm.analysis.least_squares import inverted

_SPREADS = (0.003, 0.03, 0.1, 0.3, 1.0)
"""By how much, in logarithms, what places of a program bring may vary."""
_LEAST_ERROR = 0.002
"""No work is explained better than to this part of it."""
_PRICE = 2.0
"""By how much the logarithm of the density has to be larger where tokens explain, as a plane is freer than a number."""
_NOTHING = 1e-9
"""ns; of less there is no logarithm."""
_FEWEST_TOKENS = 4
"""Fewer different numbers of tokens any plane fits."""


class Kind(NamedTuple):
    """What is known of a call before it is made."""

    place: int
    """Calls of one place are alike."""
    tokens: tuple[int, int] | None
    """Those of its prompt, and of its answer."""


Expected = Callable[[Kind], float]
"""The logarithm of what a call may be expected to bring, in ns."""
_Row = tuple[float, float, float]


class Expectation:
    """One way to expect what calls bring.

    By how much places differ nobody knows beforehand, but small differences of all are a sign that none differs: places
    are taken to vary by some σ, which may be small or large.
    """

    def __init__(self, calls: Sequence[Kind], *, by_tokens: bool, by_place: bool = True) -> None:
        self._rows = [_row(call) for call in calls] if by_tokens else []
        self._places = [call.place if by_place else 0 for call in calls]
        self._sizes: dict[int, int] = {}
        for place in self._places:
            self._sizes[place] = self._sizes.get(place, 0) + 1

    def density(self, logs: Sequence[float]) -> float:
        """The logarithm of the density of what calls brought, given the logarithms of that."""
        means, variance, free = self._varying(self._beside_tokens(logs)[1])
        between = [self._between(means, variance, spread) for spread in _SPREADS]
        top = max(between)
        mean = top + log(sum(exp(each - top) for each in between) / len(between))
        return mean - 0.5 * free * log(variance) - (_PRICE if self._rows else 0.0)

    def fitted(self, logs: Sequence[float]) -> Expected:
        """What calls show of their place is expected there; of a place with few calls, more of what others show."""
        plane, rest = self._beside_tokens(logs)
        means, variance, _ = self._varying(rest)
        spread = max(_SPREADS, key=lambda each: self._between(means, variance, each))
        middle = self._middle(means, variance, spread)[1]
        shrunk = {
            place: middle + (mean - middle) * spread**2 / (spread**2 + variance / self._sizes[place])
            for place, mean in means.items()
        }

        def expected(call: Kind) -> float:
            base = 0.0 if plane is None else log(max(_NOTHING, _on(plane, _row(call))))
            return base + shrunk.get(call.place, middle)

        return expected

    def _varying(self, rest: Sequence[float]) -> tuple[Mapping[int, float], float, int]:
        """The mean of each place, the variance around it, and from how many differences that is known."""
        sums = dict.fromkeys(self._sizes, 0.0)
        for place, each in zip(self._places, rest, strict=True):
            sums[place] += each
        means = {place: total / self._sizes[place] for place, total in sums.items()}
        inside = sum((each - means[place]) ** 2 for place, each in zip(self._places, rest, strict=True))
        free = len(rest) - len(means)
        return means, inside / max(1, free) + _LEAST_ERROR**2, free

    def _between(self, means: Mapping[int, float], variance: float, spread: float) -> float:
        """The logarithm of the density of the means of places that vary by `spread`."""
        weights, middle = self._middle(means, variance, spread)
        squares = sum((mean - middle) ** 2 * weight for mean, weight in zip(means.values(), weights, strict=True))
        return 0.5 * (sum(map(log, weights)) - squares - log(sum(weights)))

    def _middle(self, means: Mapping[int, float], variance: float, spread: float) -> tuple[Sequence[float], float]:
        """How much each place weighs, and their mean."""
        weights = [1 / (spread**2 + variance / self._sizes[place]) for place in means]
        return weights, sum(map(mul, means.values(), weights)) / sum(weights)

    def _beside_tokens(self, logs: Sequence[float]) -> tuple[_Row | None, Sequence[float]]:
        if not self._rows:
            return None, logs
        plane = _plane(self._rows, [exp(each) for each in logs])
        return plane, [each - log(max(_NOTHING, _on(plane, row))) for row, each in zip(self._rows, logs, strict=True)]


def expectations(calls: Sequence[Kind], *, by_place: bool = True) -> list[Expectation]:
    """Those that there may be of such calls."""
    found = [Expectation(calls, by_tokens=False, by_place=by_place)]
    tokens = {call.tokens for call in calls}
    if None not in tokens and len(tokens) >= _FEWEST_TOKENS:
        found.append(Expectation(calls, by_tokens=True, by_place=by_place))
    return found


def expected(calls: Sequence[Kind], logs: Sequence[float], *, by_place: bool = True) -> Expected:
    """By the expectation that explains most of what calls brought."""
    return max(expectations(calls, by_place=by_place), key=lambda each: each.density(logs)).fitted(logs)


def _row(call: Kind) -> _Row:
    prompt, answer = call.tokens or (0, 0)
    return 1.0, float(prompt), float(answer)


def _plane(rows: Sequence[_Row], works: Sequence[float]) -> _Row:
    """a + b·prompt + c·answer by the least relative errors, none of the three below 0."""
    active = [0, 1, 2]
    while True:
        columns = [[row[i] / work for row, work in zip(rows, works, strict=True) if work > 0] for i in active]
        normal = [[sum(map(mul, a, b)) for b in columns] for a in columns]
        right = [sum(column) for column in columns]
        found = [sum(map(mul, row, right)) for row in inverted(normal)]
        negative = [i for i, each in zip(active, found, strict=True) if each < 0]
        if not negative:
            by_index = dict(zip(active, found, strict=True))
            return by_index.get(0, 0.0), by_index.get(1, 0.0), by_index.get(2, 0.0)
        active = [i for i in active if i not in negative]


def _on(plane: _Row, row: _Row) -> float:
    return sum(map(mul, plane, row))
