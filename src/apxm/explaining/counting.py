"""How often a function calls models, and how many tokens that takes, as far as its text says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apxm.analysis.usage import TYPICAL_ANSWER
from apxm.backends.simulated import CHARACTERS_PER_TOKEN
from apxm.explaining.formulas import NONE, Amount, total
from apxm.explaining.shape import Ask, Branch, Loop, Step, Within

_NO_LIMIT = Amount(NONE.low, None)


def counted(steps: Sequence[Step], weight: Callable[[Ask], float] = lambda _: 1.0) -> Amount:
    """The calls of all that is done there, or the sum of what each of them weighs."""

    def of(step: Step) -> Amount:
        match step:
            case Ask():
                return Amount.of(weight(step))
            case Branch(ways=[first, *others]):
                found = counted(first, weight)
                for way in others:
                    found = found.or_(counted(way, weight))
                return found
            case Loop(turns=turns, body=body):
                return turns * counted(body, weight)
            case Within(recursive=True):
                return _NO_LIMIT
            case Within(body=body, lengths=lengths):
                return counted(body, weight).with_lengths(lengths)
            case _:
                return NONE

    return total(map(of, steps))


def input_tokens(ask: Ask) -> float:
    """About the tokens of what a call sends: its own words, and the answers that are put into them."""
    return ask.text / CHARACTERS_PER_TOKEN + TYPICAL_ANSWER * ask.answers


def output_tokens(ask: Ask) -> float:
    """About the tokens of its answer."""
    return float(TYPICAL_ANSWER if ask.max_tokens is None else min(TYPICAL_ANSWER, ask.max_tokens))
