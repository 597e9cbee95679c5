"""How far a batch is, and what came of it, in a line each."""

from __future__ import annotations

from typing import Protocol

from apxm.reports.progress import elapsed_text
from apxm.reports.summary import count, duration


class Counted(Protocol):
    """What a batch counts."""

    kept: int
    kept_failed: int
    succeeded: int
    failed: int
    unwritten: int
    open: int
    calls: int
    tokens: int
    cost: float
    is_priced: bool
    kinds: dict[str, int]

    @property
    def done(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def rate(self) -> float: ...


def batch_progress(tally: Counted, left: float | None, shared: int, width: int) -> str:
    """``1,204 done, 3 failed, 64 running; 21.4/s; 0:56, about 7:01 left; …``, in less than `width` characters."""
    parts = [f"{tally.done:,} done, {tally.failed:,} failed, {tally.open:,} running", f"{tally.rate:.3g}/s"]
    time = elapsed_text(round(tally.seconds))
    if left is not None and tally.rate:
        time += f", about {elapsed_text(round(left / tally.rate))} left"
    parts.append(time)
    if tally.is_priced and tally.cost:
        expected = "" if left is None or not tally.done else f" of about {tally.cost * (1 + left / tally.done):.4g}"
        parts.append(f"cost {tally.cost:.4g}{expected}")
    if tally.tokens:
        parts.append(count(tally.tokens, "token"))
    if shared:
        parts.append(f"{count(shared, 'equal call')} made once")
    while len(parts) > 1 and len("; ".join(parts)) >= width:
        parts.pop()
    return "; ".join(parts)


def batch_summary(tally: Counted, shared: int) -> str:
    """``9,997 done and 3 failed (2 input, 1 timeout), 120 kept from before; 29,991 calls in 12.40 s (806/s); …``"""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(tally.kinds.items()))
    parts = [f"{tally.succeeded:,} done" + (f", {tally.failed:,} failed ({kinds})" if tally.failed else "")]
    if tally.unwritten:
        parts[0] += f", {tally.unwritten:,} of them not written"
    if tally.kept:
        failed = f", {tally.kept_failed:,} of them failed" if tally.kept_failed else ""
        parts[0] += f", {tally.kept:,} were done before{failed}"
    if tally.calls:
        once = f", {shared:,} of them equal to others and not made" if shared else ""
        parts.append(f"{count(tally.calls, 'call')}{once} in {duration(tally.seconds * 1e3)} ({tally.rate:.3g}/s)")
    if tally.tokens:
        parts.append(count(tally.tokens, "token"))
    if tally.is_priced and tally.cost:
        parts.append(f"cost {tally.cost:.4g}")
    return "; ".join(parts)
