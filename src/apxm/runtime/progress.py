"""How far a run is, for whoever looks now and then: nothing is counted before somebody does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from apxm.backends.protocol import Usage
from apxm.errors import UsageError
from apxm.runtime.budget import NOTHING, as_amount
from apxm.runtime.trace import Trace, operation_record
from apxm.runtime.waiting import Provider, WaitingOperation


class Progress(NamedTuple):
    done: int
    """Operations over, skipped ones included."""
    running: int
    """Operations in flight."""
    waiting: int
    """Operations ready, but without a slot or between two attempts."""
    elapsed_ns: int = 0
    tokens: int = 0
    """How many the answers so far used, input and output, as far as their endpoints say."""
    cost: float | None = None
    """What the answers so far cost; None where a price is not known."""
    found: tuple[int, ...] = ()
    """The most calls in flight at each endpoint where that is found."""
    failed: int = 0
    """Those of the operations over that failed."""


class InFlight(NamedTuple):
    """An attempt that has been sent, and is not over."""

    path: str
    who: str
    """Whom it asks: a model, a tool."""
    since_ns: int
    """How long ago it was sent."""
    attempt: int
    """Which attempt of its operation it is, from 1."""


class Spending:
    """What the answers of a run used up so far. Each look counts those that came since the last one."""

    def __init__(self, trace: Trace, who: Callable[[int, int], tuple[WaitingOperation, Provider]]) -> None:
        """`who` gives the operation at a node of a frame, and whoever does it."""
        self._trace = trace
        self._who = who
        self._seen = 0
        self._cost = NOTHING
        self._priced = True

    def look(self) -> tuple[int, float | None]:
        """Tokens and cost, as in `Progress`."""
        trace = self._trace
        for record in map(operation_record, trace.raw[self._seen :]):
            operation, provider = self._who(record.frame, record.node)
            for usage in (attempt.usage for attempt in record.attempts):
                known = Usage(usage.input_tokens or 0, usage.output_tokens or 0)
                self._cost += provider.cost(operation, known) or NOTHING
            self._priced &= provider.unpriced(operation) is None
        self._seen = len(trace.raw)
        return self._cost.tokens, as_amount(self._cost.money) if trace.raw and self._priced else None

    @property
    def cost(self) -> float | None:
        """The cost of all answers; looks no further than to the first whose price is not known."""
        asked = (self._who(raw[0], raw[1]) for raw in self._trace.raw)
        if any(provider.unpriced(operation) is not None for operation, provider in asked):
            return None
        return self.look()[1]


def refuse_unknown_prices(uses: Iterable[tuple[WaitingOperation, Provider]]) -> None:
    """Raises `UsageError` where the cost of operations cannot be limited, since nobody wrote down a price."""
    unpriced = {(provider.name, variant) for operation, provider in uses if (variant := provider.unpriced(operation))}
    if unpriced:
        raise unknown_price(*min(unpriced))


def unknown_price(name: str, model: str) -> UsageError:
    """Why the cost of a run cannot be limited that asks a model of the backend with that name."""
    return UsageError(
        f"the cost of this run cannot be limited: the price of {model!r} at backend {name!r} is not known",
        hint=f'set [backends.{name}.prices."{model}"] with input and output, per million tokens',
    )
