"""The budget of a batch that several processes do: one of them has it, and the others ask it for what a call may cost.

As with leave for attempts (`leases.py`), a `LeasedBudget` stands for it in a worker, and a `Treasurer` has it. What a
worker that is lost had reserved counts as used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count

from msgspec import Struct

from apxm.runtime.budget import NOTHING, Cost, Shortage, Verdict, as_amount
from apxm.runtime.shared_budget import SharedBudget

Wake = Callable[[], None]


class AskFor(Struct, frozen=True):
    """A worker wants to reserve the most that a call can cost."""

    number: int
    worst: Cost


class Spend(Struct, frozen=True):
    """What was reserved for a call is reserved no more."""

    worst: Cost
    actual: Cost | None
    """What the call cost; None where nobody knows."""


class NoMore(Struct, frozen=True):
    """A worker does not want what it asked for."""

    number: int


class Covered(Struct, frozen=True):
    """Whether what was asked for is reserved: where there is a `shortage`, it never will be."""

    number: int
    worst: Cost
    shortage: Shortage | None


FromSpender = AskFor | Spend | NoMore


class _Wanted(Struct, eq=False):
    number: int
    worst: Cost
    answer: Covered | None = None
    judged: bool = False
    """Whether somebody has looked at the answer."""


class LeasedBudget(SharedBudget):
    """Stands for a budget that another process has. It belongs to one event loop."""

    def __init__(
        self,
        max_tokens: int | None,
        max_money: int | None,
        tell: Callable[[FromSpender], object],
        numbers: count[int],
    ) -> None:
        super().__init__(
            max_total_tokens=max_tokens, max_cost=None if max_money is None else as_amount(max_money),
        )  # fmt: skip
        self._say = tell
        self._numbers = numbers
        self._wanted: dict[Wake, _Wanted] = {}
        self._who: dict[int, Wake] = {}
        self._judged: Wake | None = None
        """Whose call fits, and is reserved next."""
        self._short: Shortage | None = None

    def judge(self, worst: Cost, wake: Wake | None = None) -> Verdict:
        assert wake is not None, "who waits here has to be told"
        found = self._wanted.get(wake)
        if found is not None and found.worst != worst:  # another call goes first now
            self.leave(wake)
            found = None
        if found is None:
            found = self._wanted[wake] = _Wanted(next(self._numbers), worst)
            self._who[found.number] = wake
            self._say(AskFor(found.number, worst))
        if found.answer is None:
            return Verdict.LATER
        found.judged = True
        if found.answer.shortage is None:
            self._judged = wake
            return Verdict.FITS
        self._short = found.answer.shortage
        del self._wanted[wake]
        return Verdict.NEVER

    def reserve(self, worst: Cost) -> bool:
        del worst  # which was judged just now
        assert self._judged is not None
        del self._wanted[self._judged]
        self._judged = None
        return True

    def settle(self, worst: Cost, actual: Cost | None) -> None:
        self._say(Spend(worst, actual))

    def shortage(self, worst: Cost) -> Shortage:
        del worst  # of which that was said just now
        assert self._short is not None
        return self._short

    def leave(self, wake: Wake) -> None:
        if (found := self._wanted.pop(wake, None)) is None:
            return
        if found.answer is None:
            del self._who[found.number]
            self._say(NoMore(found.number))
        elif found.answer.shortage is None:
            self._say(Spend(found.worst, NOTHING))

    def heard(self, said: Covered) -> None:
        wake = self._who.pop(said.number, None)
        if wake is None:  # nobody wanted it any more when it was covered
            if said.shortage is None:
                self._say(Spend(said.worst, NOTHING))
            return
        found = self._wanted[wake]
        found.answer = said
        wake()
        if self._wanted.get(wake) is found and not found.judged:
            self.leave(wake)


class Treasurer:
    """Gives workers, which are numbered, their parts of a budget in the order in which they ask."""

    def __init__(self, budget: SharedBudget, tell: Callable[[int, Covered], object]) -> None:
        self._budget = budget
        self._tell = tell
        self._waiting: deque[tuple[int, AskFor]] = deque()
        self._out: dict[int, Cost] = {}
        """What is reserved for each worker."""

    def heard(self, worker: int, said: FromSpender) -> None:
        match said:
            case AskFor():
                self._waiting.append((worker, said))
                self.serve()
            case Spend(worst=worst, actual=actual):
                self._out[worker] -= worst
                self._budget.settle(worst, actual)
            case NoMore(number=number):
                waiting = [each for each in self._waiting if (each[0], each[1].number) != (worker, number)]
                if len(waiting) < len(self._waiting):
                    self._waiting = deque(waiting)
                    self.serve()

    def lost(self, worker: int) -> None:
        self._waiting = deque(each for each in self._waiting if each[0] != worker)
        if (out := self._out.pop(worker, NOTHING)) != NOTHING:
            self._budget.settle(out, None)
        self.serve()

    def serve(self) -> None:
        while self._waiting:
            worker, ask = self._waiting[0]
            verdict = self._budget.judge(ask.worst, self.serve)
            if verdict is Verdict.LATER:
                return
            if verdict is Verdict.FITS and not self._budget.reserve(ask.worst):
                continue
            self._waiting.popleft()
            shortage = None
            if verdict is Verdict.FITS:
                self._out[worker] = self._out.get(worker, NOTHING) + ask.worst
            else:
                shortage = self._budget.shortage(ask.worst)
            self._tell(worker, Covered(ask.number, ask.worst, shortage))
        self._budget.leave(self.serve)
