"""How much slower a call gets while others are in flight: `none`, `usl:ALPHA,BETA`, `curve:1=1,4=2.1,…`.

s(c) says by which factor each of c simultaneous calls is slowed. It is kept as an exact fraction of the decimals as
they were written, so that finishing times are exact too (see sharing.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from apxm.backends.numbers import DECIMAL
from apxm.errors import UsageError

MAX_CALLS = 10_000_000
MAX_FACTOR = 1_000_000
"""Larger numbers than these are slips."""

_FORMS = "none, usl:ALPHA,BETA or curve:CALLS=FACTOR,CALLS=FACTOR,…"
_EXAMPLES = "usl:0.05,0.0001, curve:1=1,4=2.1,16=5"
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Slowdown:
    text: str
    """The specification that `parse_slowdown` reads."""

    def factor(self, calls: int) -> Fraction:
        """s(c) for c = `calls` ≥ 1. At least 1, and never smaller for more calls."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class UniversalScalability(Slowdown):
    """``s(c) = 1 + α(c−1) + βc(c−1)``: Gunther's universal scalability law."""

    alpha: Fraction
    beta: Fraction

    def factor(self, calls: int) -> Fraction:
        return 1 + (calls - 1) * (self.alpha + self.beta * calls)


@dataclass(frozen=True)
class Curve(Slowdown):
    """Straight lines through measured points; beyond the last one, along the last two. Of a single point, which is
    that of one call, no call is slowed."""

    points: tuple[tuple[int, Fraction], ...]
    """Calls and factor, calls rising from 1."""

    def factor(self, calls: int) -> Fraction:
        if len(self.points) == 1:
            return self.points[0][1]
        index = next((i for i, (c, _) in enumerate(self.points) if c >= calls), len(self.points) - 1)
        index = max(index, 1)
        (c0, s0), (c1, s1) = self.points[index - 1], self.points[index]
        return s0 + (s1 - s0) * (calls - c0) / (c1 - c0)


def parse_slowdown(text: str) -> Slowdown:
    """Reads a specification. Raises `UsageError`."""
    stripped = text.strip()
    kind, colon, rest = stripped.partition(":")
    if stripped == "none":
        return Curve("none", ((1, Fraction(1)),))
    if not colon or kind not in ("usl", "curve"):
        raise _refused(text, f"expected {_FORMS}")
    arguments = [part.strip() for part in rest.split(",")]
    if kind == "usl":
        if len(arguments) != 2:
            raise _refused(text, f"usl takes ALPHA and BETA, got {len(arguments)} value(s)")
        alpha, beta = (_parse_factor(text, part) for part in arguments)
        return UniversalScalability(stripped, alpha, beta)
    return Curve(stripped, _parse_points(text, arguments))


def _parse_points(text: str, arguments: list[str]) -> tuple[tuple[int, Fraction], ...]:
    points: list[tuple[int, Fraction]] = []
    for part in arguments:
        calls_text, equals, factor_text = (piece.strip() for piece in part.partition("="))
        if not equals or not _COUNT.fullmatch(calls_text):
            raise _refused(text, f"found {part!r} where CALLS=FACTOR is expected")
        calls, factor = int(calls_text), _parse_factor(text, factor_text)
        if not points and (calls, factor) != (1, 1):
            raise _refused(text, f"the first point is {part!r}, expected 1=1: one call alone is not slowed")
        if points and calls <= points[-1][0]:
            raise _refused(text, f"{part!r} follows {points[-1][0]} calls, expected more calls from point to point")
        if calls > MAX_CALLS:
            raise _refused(text, f"{calls} calls are too many, expected at most {MAX_CALLS}")
        if points and factor < points[-1][1]:
            raise _refused(text, f"{part!r} is faster than the point before, expected a factor that never falls")
        points.append((calls, factor))
    return tuple(points)


def _parse_factor(text: str, part: str) -> Fraction:
    if not DECIMAL.fullmatch(part):
        raise _refused(text, f"found {part!r} where a number of at least 0 is expected")
    factor = Fraction(part)
    if factor > MAX_FACTOR:
        raise _refused(text, f"{part} is too large, expected at most {MAX_FACTOR}")
    return factor


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"slowdown {text!r}: {why}", hint=f"for example {_EXAMPLES}")
