"""How far a run is, for whoever looks now and then: nothing is counted before somebody does."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from apxm.backends.protocol import Usage
from apxm.runtime.budget import Cost, Tariff, as_amount
from apxm.runtime.trace import Trace


class Progress(NamedTuple):
    done: int
    """Operations over, skipped ones included."""
    running: int
    """Operations in flight."""
    waiting: int
    """Operations ready, but without a slot or between two attempts."""
    elapsed_ns: int = 0
    tokens: int = 0
    """Of the answers so far, input and output, as far as their endpoints say."""
    cost: float | None = None
    """Of the same; None where a price is not known."""


class Spending:
    """What the answers of a run used up so far. Each look counts those that came since the last one."""

    def __init__(self, trace: Trace, price_of: Callable[[int, int], tuple[Tariff, str]]) -> None:
        """`price_of` gives the tariff and the model of a call, by frame and node."""
        self._trace = trace
        self._price_of = price_of
        self._seen = 0
        self._cost = Cost()
        self._priced = True

    def look(self) -> tuple[int, float | None]:
        """Tokens and cost, as in `Progress`."""
        raw = self._trace.raw
        for operation in raw[self._seen :]:
            tariff, model = self._price_of(operation[0], operation[1])
            # Only the last attempt of an operation is ever answered.
            cost = tariff.actual(Usage(operation[12] or 0, operation[13] or 0), model)
            self._cost += cost or Cost()
            self._priced &= tariff.knows(model)
        self._seen = len(raw)
        return self._cost.tokens, as_amount(self._cost.money) if raw and self._priced else None
