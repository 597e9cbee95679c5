"""A budget that several runs use up together: those of a batch, or of a service."""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable

from apxm.backends.numbers import amount, count
from apxm.runtime.budget import Budget, Cost, Verdict, as_amount, money


class _Waiting:
    """A run with a call that does not fit before others have turned out to cost less than was reserved for them."""

    def __init__(self, loop: AbstractEventLoop, worst: Cost) -> None:
        self.loop = loop
        self.worst = worst
        self.called = False
        """Whether it will ask again anyway."""


class SharedBudget(Budget):
    """The most that runs may use together, in whichever event loops and threads of the process they are.

    A run whose calls it does not cover any more ends as `stopped`, as by a budget of its own; a call that may be
    covered when others are over waits.
    """

    def __init__(self, *, max_total_tokens: int | None = None, max_cost: float | None = None) -> None:
        """`max_cost` is in the unit of the configured prices. Raises `UsageError` for a number that makes no sense."""
        super().__init__(
            None if max_total_tokens is None else count(max_total_tokens, "the budget", " token"),
            None if max_cost is None else money(amount(max_cost, "the most that runs may cost")),
        )
        self._lock = threading.RLock()
        self._waiting: dict[Callable[[], None], _Waiting] = {}
        """Those that wait, longest first."""

    def __repr__(self) -> str:
        parts: list[str] = []
        if self.max_tokens is not None:
            parts.append(f"{self.tokens:,} of {self.max_tokens:,} tokens")
        if self.max_money is not None:
            parts.append(f"{self.cost:.6g} of {as_amount(self.max_money):.6g}")
        return f"<SharedBudget, {' and '.join(parts) or 'without a limit'} used>"

    @property
    def tokens(self) -> int:
        """How many were used, input and output."""
        return self.spent.tokens

    @property
    def cost(self) -> float:
        """What was spent, as far as prices are known."""
        return as_amount(self.spent.money)

    def judge(self, worst: Cost, wake: Callable[[], None] | None = None) -> Verdict:
        with self._lock:
            verdict = super().judge(worst)
            if verdict is Verdict.LATER and wake is not None:
                waiting = self._waiting.get(wake)
                if waiting is None or waiting.called or worst.tokens < waiting.worst.tokens:
                    self._waiting.pop(wake, None)
                    self._waiting[wake] = _Waiting(get_running_loop(), worst)
            return verdict

    def reserve(self, worst: Cost) -> bool:
        with self._lock:
            return self._holds(self.spent + self.reserved + worst) and super().reserve(worst)

    def settle(self, worst: Cost, actual: Cost | None) -> None:
        with self._lock:
            super().settle(worst, actual)
            self._offer()

    def leave(self, wake: Callable[[], None]) -> None:
        with self._lock:
            if self._waiting.pop(wake, None) is not None:
                self._offer()

    def _offer(self) -> None:
        """Wakes those that fit now, the longest wait first, and those that never will."""
        total = self.spent + self.reserved
        for wake, waiting in [*self._waiting.items()]:
            fits = self._holds(total + waiting.worst)
            if not fits and self._holds(self.spent + waiting.worst):
                return
            if not waiting.called:
                try:
                    waiting.loop.call_soon_threadsafe(self._wake, wake, waiting)
                except RuntimeError:  # its loop is closed
                    del self._waiting[wake]
                    continue
                waiting.called = True
            if fits:
                total += waiting.worst

    def _wake(self, wake: Callable[[], None], waiting: _Waiting) -> None:
        with self._lock:
            if self._waiting.get(wake) is not waiting:
                return  # it has left, or waits for another call
            del self._waiting[wake]
        wake()
