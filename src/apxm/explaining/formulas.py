"""How often something happens, as formulas in the lengths of lists: ``2·len(rows) + 1``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

Monomial = tuple[str, ...]
"""What is multiplied, in order: each the text of a length, such as ``len(rows)``. None is 1."""


@dataclass(frozen=True)
class Formula:
    """A sum of products of lengths, none of which is below 0."""

    terms: Mapping[Monomial, float]

    @staticmethod
    def of(number: float) -> Formula:
        return Formula({(): number} if number else {})

    @staticmethod
    def length(name: str) -> Formula:
        return Formula({(name,): 1})

    def __add__(self, other: Formula) -> Formula:
        return self._both(other, lambda a, b: a + b)

    def __mul__(self, other: Formula) -> Formula:
        found: dict[Monomial, float] = {}
        for one, a in self.terms.items():
            for two, b in other.terms.items():
                key = tuple(sorted((*one, *two)))
                found[key] = found.get(key, 0) + a * b
        return Formula(found)

    def least(self, other: Formula) -> Formula:
        """A formula that is above neither."""
        return self._both(other, min)

    def most(self, other: Formula) -> Formula:
        """A formula that is below neither."""
        return self._both(other, max)

    def _both(self, other: Formula, join: Callable[[float, float], float]) -> Formula:
        keys = dict.fromkeys((*self.terms, *other.terms))
        found = {key: join(self.terms.get(key, 0), other.terms.get(key, 0)) for key in keys}
        return Formula({key: value for key, value in found.items() if value})

    def with_lengths(self, known: Mapping[str, Formula]) -> Formula:
        """The formula with other ones in the place of lengths."""
        found = Formula({})
        for key, value in self.terms.items():
            term = Formula.of(value)
            for name in key:
                term *= known.get(name, Formula.length(name))
            found += term
        return found

    @property
    def number(self) -> float | None:
        """Its value; None where it depends on a length."""
        return self.terms.get((), 0) if all(key == () for key in self.terms) else None

    @property
    def lengths(self) -> set[str]:
        return {name for key in self.terms for name in key}

    def __str__(self) -> str:
        ordered = sorted(self.terms.items(), key=lambda term: (-len(term[0]), term[0]))
        return " + ".join(_term(key, value) for key, value in ordered) or "0"


def _term(key: Monomial, value: float) -> str:
    powers = [f"{name}{_power(key.count(name))}" for name in dict.fromkeys(key)]
    number = f"{value:,.6g}" if value != int(value) else f"{int(value):,}"
    return "·".join(powers if value == 1 and powers else [number, *powers])


def _power(count: int) -> str:
    return "" if count == 1 else "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(count))


@dataclass(frozen=True)
class Amount:
    """How often something happens: at least, and at most."""

    low: Formula
    high: Formula | None
    """None where nothing that the text says limits it."""

    @staticmethod
    def of(number: float) -> Amount:
        return Amount(Formula.of(number), Formula.of(number))

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.low + other.low, _if_both(self.high, other.high, lambda a, b: a + b))

    def __mul__(self, other: Amount) -> Amount:
        if self.high == NONE.high or other.high == NONE.high:
            return NONE
        return Amount(self.low * other.low, _if_both(self.high, other.high, lambda a, b: a * b))

    def or_(self, other: Amount) -> Amount:
        """One of both, nobody knows which."""
        return Amount(self.low.least(other.low), _if_both(self.high, other.high, Formula.most))

    def scaled(self, factor: float) -> Amount:
        return self * Amount.of(factor)

    def with_lengths(self, known: Mapping[str, Amount]) -> Amount:
        low = self.low.with_lengths({name: amount.low for name, amount in known.items()})
        if self.high is None or any(amount.high is None for name, amount in known.items() if name in self.high.lengths):
            return Amount(low, None)
        highs = {name: amount.high for name, amount in known.items() if amount.high is not None}
        return Amount(low, self.high.with_lengths(highs))

    @property
    def lengths(self) -> set[str]:
        return self.low.lengths | (self.high.lengths if self.high is not None else set())

    def __str__(self) -> str:
        if self.low == self.high:
            return str(self.low)
        return f"{self.low} … {'no limit' if self.high is None else self.high}"


NONE = Amount.of(0)
ONE = Amount.of(1)


def total(amounts: Iterable[Amount]) -> Amount:
    found = NONE
    for amount in amounts:
        found += amount
    return found


def _if_both(a: Formula | None, b: Formula | None, join: Callable[[Formula, Formula], Formula]) -> Formula | None:
    return None if a is None or b is None else join(a, b)
