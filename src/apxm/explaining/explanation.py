"""What is found of a file, or of a flow: what `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from apxm.analysis.profile import Profile
from apxm.backends.protocol import Price
from apxm.explaining.formulas import Amount
from apxm.explaining.predicting import Costs, Times


class Number(Struct, frozen=True):
    """How many, as a formula; of a name whose length is known, as a number."""

    low: str
    high: str | None
    """None where nothing limits it."""

    @staticmethod
    def of(amount: Amount) -> Number:
        return Number(str(amount.low), None if amount.high is None else str(amount.high))


class Spot(Struct, frozen=True):
    """A piece of the source: lines and columns from 1, the end exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class Inside(Struct, frozen=True):
    """Where in a function that a line calls something is."""

    function: str
    file: str
    line: int


class LineExplained(Struct, frozen=True):
    """What lanes do with a place of an iteration, other than going on."""

    at: Spot
    does: str
    """``waits`` for its turn, is done ``later``, at that, or at once, as it is ``trusted``; or is ``refused``."""
    why: str
    seen: bool
    """Whether the text shows what is done there."""
    inside: Inside | None


class LoopExplained(Struct, frozen=True):
    at: Spot
    kind: str
    """``for``, ``while`` or ``comprehension``."""
    items: str
    """What it goes through, as it is written."""
    promised: bool
    """Whether it goes through an `each`."""
    verdict: str
    """``independent``, ``carried``, ``early exit`` or ``unknown``."""
    why: str
    help: str | None
    each: str | None
    """The place as `--each` wants it; None where it could not be promised, or is."""
    turns: Number
    calls: Number
    """The calls of models in all its turns, of one time that it is come to."""
    lines: tuple[LineExplained, ...]
    is_held_back: bool = False
    """Whether a call of an iteration waits for iterations before it, or would if the loop were promised."""
    is_error: bool = False
    """Whether the flow is refused for it."""


class SiteExplained(Struct, frozen=True):
    """A place that calls a model."""

    at: Spot
    operation: str
    """The operation, or how a library's call is written."""
    calls: Number


class FunctionExplained(Struct, frozen=True):
    name: str
    at: Spot
    is_flow: bool
    is_entry: bool
    """Whether it is where calls begin: a flow, the statements of a script, or a function that no other one calls."""
    refused: str | None
    """Why no lane can run it."""
    calls: Number
    loops: tuple[LoopExplained, ...]
    sites: tuple[SiteExplained, ...]
    together: tuple[tuple[Spot, ...], ...]
    """Calls in a straight line that overlap."""
    costs: Costs | None = None
    times: Times | None = None
    without_times: str | None = None
    """Why there are none."""


class Explanation(Struct, frozen=True):
    """What is found of a file, or of a flow."""

    file: str
    functions: tuple[FunctionExplained, ...]
    lengths: tuple[str, ...]
    """What the formulas depend on, as `--with` takes it."""


class Given(Struct, frozen=True):
    """What is known beside the text."""

    lengths: Mapping[str, int] = {}
    """By the text of a list, or by ``LINE`` of a `while`."""
    slots: tuple[int, ...] = (1, 8, 64)
    """Numbers of calls at once."""
    profile: Profile | None = None
    price: Price | None = None
    arguments: frozenset[str] = frozenset()
    """Names of which nothing may go through, as they are parameters that are given with the others."""
