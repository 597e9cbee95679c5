"""What a flow would take, where all lengths are known: calls, cost and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from apxm.analysis.profile import Profile
from apxm.analysis.static import analyze, latencies
from apxm.backends.protocol import Price
from apxm.explaining.counting import counted, input_tokens, output_tokens
from apxm.explaining.formulas import Amount
from apxm.explaining.shape import Step
from apxm.explaining.unfolding import MOST_CALLS, TooManyCallsError, Unfolding, UnknownLengthError
from apxm.program.nodes import Operate

_PER = 1_000_000
"""Prices are those of so many tokens."""


class Between(Struct, frozen=True):
    """A number that depends on which branches are taken."""

    low: float
    high: float


class TimeAt(Struct, frozen=True):
    """How long it takes with at most so many calls at once."""

    slots: int
    predicted_ms: Between


class Times(Struct, frozen=True):
    """How long it takes, by the latencies of a profile."""

    latencies: str
    t1_ms: Between
    """One call after the other."""
    t_inf_ms: Between
    """With any number of calls at once."""
    at: tuple[TimeAt, ...]


class Costs(Struct, frozen=True):
    """About what it takes in tokens and money, as formulas: of a prompt only what the text says is known, and of an
    answer only its limit."""

    input_tokens: str
    output_tokens: str
    cost: str | None
    """None where the price is not known."""


class Amounts(NamedTuple):
    """What all calls of a function come to."""

    calls: Amount
    input_tokens: Amount
    output_tokens: Amount


def amounts(steps: Sequence[Step], known: Mapping[str, Amount]) -> Amounts:
    """What the calls of some steps come to, by the lengths that are known."""
    of_all = (counted(steps), counted(steps, lambda ask: round(input_tokens(ask))), counted(steps, output_tokens))
    return Amounts(*(amount.with_lengths(known) for amount in of_all))


def costs(steps: Sequence[Step], known: Mapping[str, Amount], price: Price | None) -> Costs:
    """What all calls of a function cost."""

    def money(of: Price) -> Amount:
        return counted(steps, lambda ask: (input_tokens(ask) * of.input + output_tokens(ask) * of.output) / _PER)

    _, given, taken = amounts(steps, known)
    return Costs(str(given), str(taken), None if price is None else str(money(price).with_lengths(known)))


class Predictions:
    """How long the functions of a program take; those whose calls unfold to the same are predicted once."""

    def __init__(self, known: Mapping[str, Amount], slots: Sequence[int], profile: Profile | None) -> None:
        self._known = known
        self._slots = slots
        self._profile = profile
        self._found: dict[str, _Found] = {}
        """By the operations that calls unfold to."""

    def of(self, name: str, file: str, steps: Sequence[Step]) -> tuple[Times | None, str | None]:
        """How long a function takes; where that cannot be said, why."""
        try:
            least, most = (self._analyzed(name, file, steps, most=most) for most in (False, True))
        except UnknownLengthError as unknown:
            return None, f"how long it takes depends on {unknown}"
        except TooManyCallsError:
            return None, f"how long it takes is said of at most {MOST_CALLS:,} calls"
        slots, profile = self._slots, self._profile
        times = zip(slots, least.at or (0.0,) * len(slots), most.at or (0.0,) * len(slots), strict=True)
        return Times(
            latencies(profile),
            Between(least.t1, most.t1),
            Between(least.t_inf, most.t_inf),
            tuple(TimeAt(p, Between(low, high)) for p, low, high in times),
        ), None

    def _analyzed(self, name: str, file: str, steps: Sequence[Step], *, most: bool) -> _Found:
        grown = Unfolding(name, file, self._known, most=most).unfold(steps)
        if not any(isinstance(node, Operate) for node in grown.nodes):
            return _NOTHING
        operations = repr(grown.nodes)
        if operations not in self._found:
            found = analyze(grown.program, grown.flow, self._slots, self._profile)
            at = tuple(each.predicted_ms for each in found.at)
            self._found[operations] = _Found(found.t1_ms.expected, found.t_inf_ms.expected, at)
        return self._found[operations]


class _Found(NamedTuple):
    """Of one way through a flow, in ms."""

    t1: float
    t_inf: float
    at: tuple[float, ...]


_NOTHING = _Found(0.0, 0.0, ())
