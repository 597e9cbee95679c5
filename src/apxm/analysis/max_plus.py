"""Longest paths through any number of turns, by matrices whose product is a maximum of sums.

What one turn makes of the times at which things are there is such a matrix, as every path through it adds what lies on
it, and what waits for several things waits for the latest of them. Its powers are any number of turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import inf
from operator import add

from apxm.program.openers import Repeat

Vector = Sequence[float]
"""Instants; -inf is that of what nothing has to wait for."""
Matrix = Sequence[Vector]
"""By row what comes out, by column what goes in: the longest path from there to here, -inf where there is none."""


def apply(matrix: Matrix, vector: Vector) -> list[float]:
    return [max((a + b for a, b in zip(row, vector, strict=True) if a != -inf), default=-inf) for row in matrix]


def product(second: Matrix, first: Matrix) -> Matrix:
    columns = list(zip(*first, strict=True))
    return [[max(map(add, row, column)) for column in columns] for row in second]


def power(matrix: Matrix, exponent: int) -> Matrix:
    found: Matrix = identity(len(matrix))
    while exponent:
        if exponent & 1:
            found = product(matrix, found)
        matrix = product(matrix, matrix) if exponent > 1 else matrix
        exponent >>= 1
    return found


def identity(size: int) -> Matrix:
    return [[0.0 if row == column else -inf for column in range(size)] for row in range(size)]


def either(one: Matrix, other: Matrix) -> Matrix:
    """What is there once both have it."""
    return [list(map(max, *rows)) for rows in zip(one, other, strict=True)]


class TurnTimes:
    """When what leaves the turns of a `Repeat` leaves them, for any number of turns.

    The state between two turns is, by index: the instants at which the inputs of the next one are there; at which it
    may begin; at which the first one could; at which all that is collected so far is there; at which all so far is
    over; and at which the newest one had each of its outputs.
    """

    def __init__(self, opener: Repeat, going_on: Matrix, last: Matrix, inputs: int, freed: int | None = None) -> None:
        """What a turn is that another one follows, and what the last one is: a row per output and one for its end, a
        column per input and one for its begin. The input `freed` is taken for one that all turns have in common."""
        self._opener = opener
        self._freed = freed
        self._inputs = inputs
        self._begin, self._first, self._collected, self._end = range(inputs, inputs + 4)
        self._outputs = len(last) - 1
        self._next = self._matrix(going_on)
        self._last = self._matrix(last)

        @cache
        def exactly(turns: int) -> Matrix:
            return power(self._next, turns)

        @cache
        def up_to(turns: int) -> Matrix:
            return power(either(self._next, identity(len(self._next))), turns)

        self._exactly: Callable[[int], Matrix] = exactly
        self._up_to: Callable[[int], Matrix] = up_to

    def _matrix(self, turn: Matrix) -> Matrix:
        size = self._end + 1 + self._outputs
        unit = identity(size)
        nothing = [-inf] * size
        rows = [[*row, *nothing[len(row) :]] for row in turn]
        outputs, end = rows[:-1], rows[-1]

        def latest(*of: Sequence[float]) -> list[float]:
            return list(map(max, zip(nothing, *of, strict=True)))

        opener = self._opener
        step = list(unit)
        for port, sources in opener.carried.items():
            if port != self._freed:
                step[port] = latest(*(outputs[source] for source in sources))
        if opener.stop is not None:
            step[self._begin] = latest(unit[self._first], outputs[opener.stop])
        if opener.collected is not None:
            step[self._collected] = latest(unit[self._collected], outputs[opener.collected])
        step[self._end] = latest(unit[self._end], end)
        step[self._end + 1 :] = outputs
        return step

    def start(self, begin: float, entered: Sequence[float]) -> list[float]:
        """The state before the first turn, which may begin at `begin`; `entered` has when each input is there."""
        outputs = [begin] * self._outputs
        for port, sources in self._opener.carried.items():
            for source in sources:
                outputs[source] = max(begin, entered[port])
        return [*entered, begin, begin, begin, begin, *outputs]

    def after(self, start: Vector, turns: float) -> list[float]:
        """The state after so many turns; between two numbers of turns, as far between."""
        whole = int(turns)
        found = self._after(start, whole)
        if whole == turns:
            return found
        share = turns - whole
        return [a if a == b else a + (b - a) * share for a, b in zip(found, self._after(start, whole + 1), strict=True)]

    def _after(self, start: Vector, turns: int) -> list[float]:
        return apply(self._last, apply(self._exactly(turns - 1), start)) if turns else list(start)

    def at_most(self, start: Vector, least: int, most: float) -> list[float]:
        """The latest of the states after `least` to `most` turns."""
        if not most:
            return list(start)
        found = apply(self._exactly(max(least - 1, 0)), start)
        more = most - max(least, 1)
        size = len(self._next)
        latest = apply(self._up_to(size if more == inf else int(more)), found)
        if more == inf:
            later = apply(self._up_to(2 * size), found)
            latest = [inf if b > a else b for a, b in zip(latest, later, strict=True)]
        over = apply(self._last, latest)
        return over if least else list(map(max, start, over))

    def at_least(self, start: Vector, least: int, most: float) -> list[float]:
        """What none of the states after `least` to `most` turns comes before. The state in front of the last turn is
        none that comes before the latest one that no turn puts earlier."""
        if least == most:
            return self._after(start, least)
        found = apply(self._exactly(max(least - 1, 0)), start)
        while (lower := list(map(min, found, apply(self._next, found)))) != found:
            found = lower
        over = apply(self._last, found)
        return over if least else list(map(min, start, over))

    def leaving(self, state: Vector, port: int) -> float:
        """When a state lets something leave by an output port."""
        opener = self._opener
        if port == opener.collected:
            return state[self._collected]
        outputs = state[self._end + 1 :]
        return max(state[self._first], outputs[port], -inf if opener.stop is None else outputs[opener.stop])

    def over(self, state: Vector) -> float:
        """When all turns are over."""
        return state[self._end]

    def rate(self) -> float:
        """How much later each further turn is over than the one before, in the long run."""
        start = self.start(0.0, [0.0] * self._inputs)
        often = 8 * len(self._next)  # a multiple of most periods
        return (self.over(self.after(start, 2 * often)) - self.over(self.after(start, often))) / often
