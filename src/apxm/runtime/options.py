"""What a caller says about a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from apxm.backends.numbers import amount, count, seconds, whole
from apxm.errors import UsageError
from apxm.program.frames import MOST_OPEN_TURNS
from apxm.runtime.shared_budget import SharedBudget

if TYPE_CHECKING:
    from apxm.runtime.content import ContentFiles
    from apxm.runtime.observing import CallObserver
    from apxm.runtime.result_text import TextPart

OnError = Literal["finish", "cancel"]


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """What a run may use. Raises `UsageError` for a number or a word that makes no sense."""

    max_concurrency: int | None = None
    """Most model calls in flight at once; None is no limit."""
    max_open_turns: int = MOST_OPEN_TURNS
    """Most turns of one `for` or `loop` that are open at once: further ones open as these end, in order."""
    timeout_s: float | None = None
    """Limit of the whole run; it then ends as `stopped`."""
    on_error: str = "finish"
    """An `OnError`: whether the operations that do not need a failed one go on, or the first failure ends the run, as
    `failed`."""
    max_total_tokens: int | None = None
    """Most tokens that its calls may use, input and output, retries included; it then ends as `stopped`."""
    max_cost: float | None = None
    """The same of money, in the unit of the configured prices."""

    def __post_init__(self) -> None:
        for name, read in _NUMBERS.items():
            given = getattr(self, name, None)
            if given is not None and given is not getattr(type(self), name):  # a default is plain
                object.__setattr__(self, name, read(given))
        if self.on_error not in ("finish", "cancel"):
            raise UsageError(f"on an error a run can finish or cancel, not {self.on_error!r}")


@dataclass(frozen=True, kw_only=True)
class RunOptions(RunLimits):
    """What a caller says about a run: its limits, and who listens."""

    budget: SharedBudget | None = None
    """One that other runs use up, too, beside what this one may use."""
    seed: int = 0
    """Draws the pauses between retries."""
    files: ContentFiles | None = None
    """What its calls may read; None is what belongs to its program and its arguments."""
    output: Callable[[str], None] | None = None
    """Called with each line the program prints, in program order, as soon as it is printed."""
    on_text: Callable[[TextPart], None] | None = None
    """Called with the text of the flow's result, in parts as they come where one call gives it, else whole at the end;
    behind all that the program prints."""
    warn: Callable[[str], None] | None = None
    """Called with what is wrong, but does not keep the run from going on."""
    observer: CallObserver | None = None
    """Told of each call as it happens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None and not isinstance(cast(object, self.budget), SharedBudget):
            raise UsageError(f"`budget` is a SharedBudget, not a {type(self.budget).__name__}")

    @property
    def has_budget(self) -> bool:
        return self.max_total_tokens is not None or self.limits_cost or self.budget is not None

    @property
    def limits_cost(self) -> bool:
        return self.max_cost is not None or (self.budget is not None and self.budget.max_money is not None)


_NUMBERS: dict[str, Callable[[Any], int | float]] = {
    "max_concurrency": lambda given: count(given, "the concurrency"),
    "max_open_turns": lambda given: count(given, "the open turns"),
    "timeout_s": lambda given: seconds(given, "the timeout"),
    "max_total_tokens": lambda given: count(given, "the budget", " token"),
    "max_cost": lambda given: amount(given, "the most a run may cost"),
    "seed": lambda given: whole(given, "the seed"),
}
"""What makes each of them plain, or refuses it."""
