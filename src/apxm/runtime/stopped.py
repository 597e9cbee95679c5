"""Why a run ended before its end, though nothing of its program failed."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

StopKind = Literal["timeout", "tokens", "cost", "journal", "interrupted"]
"""A time limit, a budget of tokens or of money, a required journal that could not be kept, or somebody's wish."""

MOST_PENDING = 10
"""Operations that are named."""
_SHOWN = 3


class Stopped(Struct, frozen=True):
    kind: StopKind
    limit: float | None = None
    """The limit in seconds, tokens, or the unit of prices; None where `kind` is no limit."""
    used: float | None = None
    """What was used up by then, in the unit of `limit`, over all processes of the run where it is a budget; the seconds
    since it began where it was interrupted."""
    needed: float | None = None
    """What the first of the operations that a budget does not cover may cost."""
    pending: tuple[str, ...] = ()
    """Paths of operations that had begun or waited for their turn and are not over: the first ten at most."""
    pending_count: int = 0
    """How many there are."""
    reason: str = ""
    """Why there is no journal any more."""

    @property
    def message(self) -> str:
        """Why the run ended, in words, on one line."""
        then = f"; {self.pending_text}" if self.pending else ""
        match self.kind:
            case "timeout":
                return f"the time limit of {self.limit:g} s was reached after {self.used:.3g} s{then}"
            case "tokens":
                used = f"{self.used:,.0f} of {self.limit:,.0f} token{'' if self.limit == 1 else 's'} used"
                return f"{self._uncovered} may cost {self.needed:,.0f} tokens{self._more(1)}: {used}"
            case "cost":
                used = f"{self.used:.6g} of {self.limit:.6g} spent"
                return f"{self._uncovered} may cost {self.needed:.6g}{self._more(1)}: {used}"
            case "journal":
                return f"the run must not go on without its journal: {self.reason}{then}"
            case "interrupted":
                return f"interrupted after {self.used:.3g} s{then}"

    @property
    def _uncovered(self) -> str:
        return f"the budget does not cover {self.pending[0]}, which"

    @property
    def pending_text(self) -> str:
        """``pending: a, b, c (and 4 more)``; empty where nothing is."""
        shown = self.pending[:_SHOWN]
        return f"pending: {', '.join(shown)}{self._more(len(shown))}" if shown else ""

    def _more(self, shown: int) -> str:
        return f" (and {self.pending_count - shown:,} more)" if self.pending_count > shown else ""
