"""What a batch will take, from a sample of its inputs: nothing is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from math import ceil
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from apxm.analysis.static import Needs, Range
from apxm.backends.protocol import Price
from apxm.batches.index import Index
from apxm.batches.rows import Row
from apxm.batches.work import Work
from apxm.errors import UsageError

SAMPLE = 40
"""Inputs that are looked at closely."""
_PER = 1e6
"""Prices are those of so many tokens."""


class Survey(Struct, kw_only=True):
    """What is known of an input without asking anybody."""

    inputs: int = 0
    unfit: int = 0
    """How many of them cannot be read, or have values that do not fit."""
    first_unfit: str | None = None
    done: int = 0
    """How many have their line in the output, as of which they may have failed."""
    sample: list[Any] = []
    """The arguments of some of those that are left."""

    @property
    def left(self) -> int:
        return self.inputs - self.unfit - self.done


class Estimate(Struct, frozen=True, kw_only=True):
    """What the inputs that are left will take."""

    inputs: int
    unfit: int
    first_unfit: str | None
    done: int
    left: int
    sampled: int
    calls: Range | None = None
    input_tokens: Range | None = None
    output_tokens: Range | None = None
    cost: Range | None = None
    """None where the price is not known."""
    seconds: Range | None = None


def survey(rows: Iterator[Row], work: Work, index: Index, limit: int | None, *, again: bool, seed: int = 0) -> Survey:
    """Goes through the whole input. `again` says that inputs which failed before are left."""
    found, random, kept = Survey(), Random(seed), list[Any]()
    for row in islice(rows, limit):
        found.inputs += 1
        done = index.done(index.id_of(row.digest), found.inputs)
        if done or (done is not None and not again):
            found.done += 1
            continue
        flaw, arguments = row.flaw, None
        if flaw is None:
            try:
                arguments = work.arguments(row.values)
            except UsageError as error:
                flaw = str(error.args[0])
        if flaw is not None:
            found.unfit += 1
            found.first_unfit = found.first_unfit or f"line {row.line:,}: {flaw}"
        elif len(kept) < SAMPLE:
            kept.append(arguments)
        elif (place := random.randrange(found.left)) < SAMPLE:  # each of them is as likely to be there
            kept[place] = arguments
    found.sample = kept
    return found


def estimated(
    found: Survey, needs: Callable[[Any], Needs], price: Price | None, at_once: int, calls_at_once: int | None
) -> Estimate:
    """What is left takes as the sample does: `at_once` inputs, and of their calls as many as the backend allows."""
    each = list(map(needs, found.sample))
    known = Estimate(
        inputs=found.inputs, unfit=found.unfit, first_unfit=found.first_unfit, done=found.done, left=found.left,
        sampled=len(each),
    )  # fmt: skip
    if not each:
        return known
    most = calls_at_once or found.left * 10**6

    def of_all(part: Callable[[Needs], Range]) -> Range:
        scale = found.left / len(each)
        parts = list(map(part, each))
        highs = [one.high for one in parts]
        high = None if None in highs else scale * sum(one or 0 for one in highs)
        return Range(scale * sum(one.low for one in parts), scale * sum(one.expected for one in parts), high)

    def both(one: Range, other: Range, join: Callable[[float, float], float]) -> Range:
        high = None if one.high is None or other.high is None else join(one.high, other.high)
        return Range(join(one.low, other.low), join(one.expected, other.expected), high)

    given, taken = of_all(lambda one: one.input_tokens), of_all(lambda one: one.output_tokens)
    rounds = ceil(found.left / at_once) / found.left
    by_inputs = of_all(lambda one: one.t_inf_ms)
    by_calls = of_all(lambda one: one.t1_ms)

    def seconds(chains: float, work: float) -> float:
        return max(chains * rounds, work / most) / 1e3

    return replace(
        known,
        calls=of_all(lambda one: one.calls),
        input_tokens=given,
        output_tokens=taken,
        cost=None
        if price is None
        else both(given, taken, lambda into, out: (into * price.input + out * price.output) / _PER),
        seconds=both(by_inputs, by_calls, seconds),
    )
