"""What a run may cost: a limit of tokens, of money, or both.

Before an attempt its worst case is reserved; what the endpoint says it used settles it. One whose outcome nobody knows
is charged what was reserved. So a run never costs more than its limit, if the endpoint honours `max_tokens`.

Money is counted in whole millionths of a millionth, so that no sum depends on its order.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Literal

from msgspec import Struct

from apxm.backends.protocol import Limits, ModelRequest, Usage

DEFAULT_MAX_TOKENS = 4096
"""The limit of an answer in a run with a budget, where nothing else limits it."""


def money(amount: float) -> int:
    """An amount of money in millionths of a millionth of its unit, so that sums are exact."""
    return round(amount * 1e12)


def as_amount(millionths: int) -> float:
    """What `money` was made from."""
    return millionths / 1e12


class Cost(Struct, frozen=True):
    tokens: int = 0
    money: int = 0
    """Money in millionths of a millionth of whatever prices are in; 0 where the run has no limit of money."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.tokens - other.tokens, self.money - other.money)


NOTHING = Cost()


class Verdict(Enum):
    FITS = "fits"
    LATER = "later"
    """It may fit when what is in flight has turned out to cost less than was reserved."""
    NEVER = "never"


class Shortage(Struct, frozen=True):
    """A limit that a call does not fit any more, in tokens or in the unit of prices."""

    kind: Literal["tokens", "cost"]
    limit: float
    used: float
    needed: float


class Budget:
    def __init__(
        self,
        max_tokens: int | None = None,
        max_money: int | None = None,
        spent: Cost | None = None,
        shared: Budget | None = None,
    ) -> None:
        """`spent` is what an earlier part of the run cost. Money is in millionths of a millionth. What the run uses
        counts in the `shared` one, too, and has to fit there."""
        self.max_tokens = max_tokens
        self.max_money = max_money
        self._shared = shared
        self.spent = spent or NOTHING
        self.reserved = NOTHING
        self.charged = NOTHING
        """The part of `spent` that is an assumption: attempts whose outcome nobody knows."""
        self.above = NOTHING
        """What attempts cost above what was reserved for them, because the endpoint did not honour their limit."""

    @classmethod
    def of(
        cls, max_tokens: int | None, max_cost: float | None, spent: Cost | None, shared: Budget | None = None
    ) -> Budget | None:
        """The budget of a run with such limits, `max_cost` in the unit of prices; None where it has none."""
        if max_tokens is None and max_cost is None and shared is None:
            return None
        return cls(max_tokens, None if max_cost is None else money(max_cost), spent, shared)

    def judge(self, worst: Cost, wake: Callable[[], None] | None = None) -> Verdict:
        """`wake` is called when it is worth asking again, where a call has to wait for what others share."""
        if self._holds(self.spent + self.reserved + worst):
            return Verdict.FITS if self._shared is None else self._shared.judge(worst, wake)
        return Verdict.LATER if self._holds(self.spent + worst) else Verdict.NEVER

    def shortage(self, worst: Cost) -> Shortage:
        """Why a call never fits, tokens first."""
        if self.max_tokens is not None and self.spent.tokens + worst.tokens > self.max_tokens:
            return Shortage("tokens", self.max_tokens, self.spent.tokens, worst.tokens)
        if self.max_money is not None and self.spent.money + worst.money > self.max_money:
            return Shortage("cost", as_amount(self.max_money), as_amount(self.spent.money), as_amount(worst.money))
        assert self._shared is not None
        return self._shared.shortage(worst)

    def reserve(self, worst: Cost) -> bool:
        """Says whether it is reserved: in what others share, another thread may have been quicker since it fitted."""
        if self._shared is not None and not self._shared.reserve(worst):
            return False
        self.reserved += worst
        return True

    def leave(self, wake: Callable[[], None]) -> None:
        """Nobody waits any more by this `wake`."""
        if self._shared is not None:
            self._shared.leave(wake)

    def settle(self, worst: Cost, actual: Cost | None) -> None:
        """An attempt for which `worst` was reserved is over and cost `actual`; None where nobody knows."""
        if self._shared is not None:
            self._shared.settle(worst, actual)
        self.reserved -= worst
        if actual is None:
            self.charged += worst
            actual = worst
        self.above += Cost(max(0, actual.tokens - worst.tokens), max(0, actual.money - worst.money))
        self.spent += actual

    def _holds(self, total: Cost) -> bool:
        return (self.max_tokens is None or total.tokens <= self.max_tokens) and (
            self.max_money is None or total.money <= self.max_money
        )


class Tariff:
    """What calls cost."""

    def __init__(self, limits: Limits) -> None:
        """Prices may be missing where only tokens are limited."""
        self._largest_input = limits.largest_input
        self._prices = {
            model: (round(price.input * 1e6), round(price.output * 1e6)) for model, price in limits.prices.items()
        }

    def knows(self, model: str) -> bool:
        return model in self._prices

    def worst(self, request: ModelRequest, model: str) -> Cost:
        """The most that one attempt can cost; `request` has a `max_tokens`."""
        assert request.max_tokens is not None
        return self._cost(self._largest_input(request), request.max_tokens, model)

    def actual(self, usage: Usage, model: str) -> Cost | None:
        """None where the endpoint does not say."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        return self._cost(usage.input_tokens, usage.output_tokens, model)

    def _cost(self, input_tokens: int, output_tokens: int, model: str) -> Cost:
        of_input, of_output = self._prices.get(model, (0, 0))
        return Cost(input_tokens + output_tokens, input_tokens * of_input + output_tokens * of_output)
