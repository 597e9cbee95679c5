"""How long a simulated call works: `constant:MS`, `lognormal:MEDIAN_MS,SIGMA`, `trace:MS,MS,…` are what it takes alone,
whatever it asks, and `tokens:KEY=VALUE,…` is an engine whose calls cost as many tokens as they have.

A random latency is a function of what is asked, never of the order in which calls arrive, so that two systems that are
compared meet the same draws. See `Draws.uniform` for the exact function.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from apxm.backends.engine import Costs
from apxm.errors import UsageError

if TYPE_CHECKING:
    from statistics import NormalDist

NS_PER_MS = 1_000_000
MAX_LATENCY_MS = 7 * 24 * 3600 * 1000
"""A week; beyond it somebody mixed up units."""
MAX_SIGMA = 4.0
DEFAULT_LATENCY = "constant:1000"

MAX_TOKENS = 10_000_000
"""The most slots, and tokens of a chunk or an answer."""

_FORMS = "constant:MS, lognormal:MEDIAN_MS,SIGMA, trace:MS,MS,… or tokens:KEY=VALUE,…"
_EXAMPLES = (
    "constant:1000, lognormal:1000,0.5, trace:800,1200,950, tokens:fixed=5,step=12,prefill=0.2,decode=0.5,slots=8"
)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?|\.[0-9]+([eE][+-]?[0-9]{1,2})?")


class Draws:
    """What one run has drawn so far: the only state behind a latency, and behind a fault.

    Draws of another `purpose` are other numbers, so that what fails has nothing to do with what takes long.
    """

    def __init__(self, seed: int, iteration: int = 0, purpose: str | None = None) -> None:
        self._run = f"{purpose}:{seed}:{iteration}" if purpose else f"{seed}:{iteration}"
        self._arrivals = 0
        self._occurrences: dict[bytes, int] = {}

    def next_arrival(self) -> int:
        """0 for the first call of the run, then 1, 2, …"""
        arrival = self._arrivals
        self._arrivals += 1
        return arrival

    def uniform(self, model: str, system: str | None, prompt: str) -> float:
        """A number in (0, 1) for one call.

        The call is named by the 16-byte BLAKE2b digest of the MessagePack of ``[model, system, prompt]``, each as UTF-8
        bytes or nil; `occurrence` counts the earlier calls of that digest in this run. The number is
        ``(k + ½) / 2**52``, where ``k`` is the top 52 bits, big end first, of the 8-byte BLAKE2b digest of the ASCII
        text ``SEED:ITERATION:OCCURRENCE:``, with ``PURPOSE:`` before it where there is one, followed by that digest.
        """
        name = [part if part is None else part.encode(errors="surrogatepass") for part in (model, system, prompt)]
        digest = blake2b(msgspec.msgpack.encode(name), digest_size=16).digest()
        occurrence = self._occurrences.get(digest, 0)
        self._occurrences[digest] = occurrence + 1
        coordinates = f"{self._run}:{occurrence}:".encode() + digest
        bits = int.from_bytes(blake2b(coordinates, digest_size=8).digest(), "big") >> 12
        return (bits + 0.5) / (1 << 52)


@dataclass(frozen=True)
class FixedLatency:
    ns: int

    def latency_ns(self, draws: Draws, model: str, system: str | None, prompt: str) -> int:  # noqa: ARG002
        return self.ns

    def __str__(self) -> str:
        return f"constant:{_milliseconds(self.ns)}"


@dataclass(frozen=True)
class LogNormalLatency:
    """``median · exp(sigma · z)``, z the standard normal quantile of the call's number; cut at `MAX_LATENCY_MS`."""

    median_ns: int
    sigma: float

    def latency_ns(self, draws: Draws, model: str, system: str | None, prompt: str) -> int:
        z = _standard_normal().inv_cdf(draws.uniform(model, system, prompt))
        return min(round(self.median_ns * math.exp(self.sigma * z)), MAX_LATENCY_MS * NS_PER_MS)

    def __str__(self) -> str:
        return f"lognormal:{_milliseconds(self.median_ns)},{self.sigma:g}"


@dataclass(frozen=True)
class TraceLatency:
    """A recorded list, given out in order of arrival, over and over."""

    values_ns: tuple[int, ...]

    def latency_ns(self, draws: Draws, model: str, system: str | None, prompt: str) -> int:  # noqa: ARG002
        return self.values_ns[draws.next_arrival() % len(self.values_ns)]

    def __str__(self) -> str:
        return "trace:" + ",".join(map(_milliseconds, self.values_ns))


@dataclass(frozen=True)
class TokenLatency:
    """An engine with continuous batching, in ns, and what its model answers."""

    costs: Costs
    spread: float = 0.0
    """σ of the log-normal ratios, median 1, by which the tokens of a call cost more or less."""
    answer: int | None = None
    """The median length of an answer in words, in tokens; None leaves answers as they are."""
    answer_spread: float = 0.0
    """σ of the log-normal lengths."""

    def ratio(self, draws: Draws, model: str, system: str | None, prompt: str) -> float:
        """How many times the engine's costs the tokens of the next such call cost."""
        if not self.spread:
            return 1.0
        return math.exp(self.spread * _standard_normal().inv_cdf(draws.uniform(model, system, prompt)))

    def answer_tokens(self, seed: int, said: str) -> int | None:
        """How long the answer is to what was said: always the same, as the answer is. None leaves it as it is."""
        if self.answer is None or not self.answer_spread:
            return self.answer
        uniform = Draws(seed, purpose="answer").uniform("", None, said)
        drawn = self.answer * math.exp(self.answer_spread * _standard_normal().inv_cdf(uniform))
        return max(1, min(round(drawn), MAX_TOKENS))

    def __str__(self) -> str:
        costs = self.costs
        said = [f"{key}={_milliseconds(getattr(costs, key))}" for key in _TIMES if getattr(costs, key)]
        said += [f"{key}={value:g}" for key in _SPREADS if (value := getattr(self, key))]
        counted = {"slots": costs.slots, "chunk": costs.chunk, "answer": self.answer}
        said += [f"{key}={value}" for key, value in counted.items() if value is not None]
        return "tokens:" + ",".join([*said, "cache"] if costs.cache else said)


_TIMES, _SPREADS, _COUNTS = (
    ("fixed", "step", "prefill", "decode"),
    ("spread", "answer_spread"),
    ("slots", "chunk", "answer"),
)


LatencyModel = FixedLatency | LogNormalLatency | TraceLatency
"""How long a call takes alone: `latency_ns` is the time of the next such call of a run, and its text is the
specification that `parse_latency` reads."""


def parse_latency(text: str) -> LatencyModel | TokenLatency:
    """Reads a specification. Raises `UsageError`."""
    kind, colon, rest = text.strip().partition(":")
    arguments = [part.strip() for part in rest.split(",")]
    if not colon or kind not in ("constant", "lognormal", "trace", "tokens"):
        raise _refused(text, f"expected {_FORMS}")
    if kind == "tokens":
        return _parse_tokens(text, arguments)
    if kind == "trace":
        return TraceLatency(tuple(_parse_ms(text, part) for part in arguments))
    if kind == "constant":
        if len(arguments) != 1:
            raise _refused(text, f"constant takes one number of milliseconds, got {len(arguments)}")
        return FixedLatency(_parse_ms(text, arguments[0]))
    if len(arguments) != 2:
        raise _refused(text, f"lognormal takes a median in milliseconds and a sigma, got {len(arguments)} value(s)")
    return LogNormalLatency(_parse_ms(text, arguments[0]), _parse_sigma(text, arguments[1]))


def _parse_tokens(text: str, arguments: list[str]) -> TokenLatency:
    times, spreads, counts = dict.fromkeys(_TIMES, 0), dict.fromkeys(_SPREADS, 0.0), dict[str, int]()
    cache = False
    said: set[str] = set()
    for part in arguments:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key in said:
            raise _refused(text, f"{key} stands there twice")
        said.add(key)
        if key == "cache" and not equals:
            cache = True
        elif key in times and equals:
            times[key] = _parse_ms(text, value)
        elif key in spreads and equals:
            spreads[key] = _parse_sigma(text, value)
        elif key in _COUNTS and equals:
            if not value.isdecimal() or not 0 < int(value) <= MAX_TOKENS:
                raise _refused(text, f"{key}={value}: expected a whole number from 1 to {MAX_TOKENS:,}")
            counts[key] = int(value)
        else:
            keys = ", ".join(f"{name}=" for name in (*_TIMES, *_COUNTS, *_SPREADS))
            raise _refused(text, f"found {part!r}, expected some of {keys} and cache")
    answer = counts.pop("answer", None)
    return TokenLatency(Costs(**times, **counts, cache=cache), answer=answer, **spreads)


def _parse_sigma(text: str, part: str) -> float:
    sigma = _parse_number(text, part)
    if sigma > MAX_SIGMA:
        raise _refused(text, f"sigma {part} is too large, expected at most {MAX_SIGMA:g}")
    return sigma


def _parse_ms(text: str, part: str) -> int:
    ms = _parse_number(text, part)
    if ms > MAX_LATENCY_MS:
        raise _refused(text, f"{part} ms is too large, expected at most {MAX_LATENCY_MS} (a week)")
    return round(ms * NS_PER_MS)


def _parse_number(text: str, part: str) -> float:
    if not _NUMBER.fullmatch(part):
        raise _refused(text, f"found {part!r} where a number of at least 0 is expected")
    return float(part)


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"latency {text!r}: {why}", hint=f"for example {_EXAMPLES}")


def _milliseconds(ns: int) -> str:
    whole, rest = divmod(ns, NS_PER_MS)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


@cache
def _standard_normal() -> NormalDist:
    from statistics import NormalDist  # loads decimal and fractions: 10 ms that only a random latency has to pay

    return NormalDist()
