"""How far a batch is, and what came of it, in a line each."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.analysis.static import Range
from apxm.batches.estimate import Estimate
from apxm.batches.tally import Tally
from apxm.reports.analysis import amounts_text, times_text, tokens_text
from apxm.reports.progress import elapsed_text, found_text
from apxm.reports.summary import count, duration
from apxm.reports.tables import aligned
from apxm.source import printable


def batch_progress(tally: Tally, left: float | None, shared: int, found: Sequence[int], width: int) -> str:
    """``1,204 done, 3 failed, 64 running; 21.4/s; 0:56, about 7:01 left; …``, in less than `width` characters."""
    parts = [f"{tally.done:,} done, {tally.failed:,} failed, {tally.open:,} running", f"{_rate(tally.rate)}/s"]
    time = elapsed_text(round(tally.seconds))
    if left is not None and tally.rate:
        time += f", about {elapsed_text(round(left / tally.rate))} left"
    parts.append(time)
    parts += found_text(found)
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


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def estimate_text(found: Estimate, at_once: int) -> str:
    """What a batch will take: `at_once` inputs at a time."""
    rows = [["inputs", f"{found.inputs:,}"]]
    if found.unfit:
        rows.append(["of no use", f"{found.unfit:,}; {printable(found.first_unfit or '')}"])
    if found.done:
        rows.append(["done", f"{found.done:,}"])
    rows.append(["left", f"{found.left:,}"])
    if found.calls and found.input_tokens and found.output_tokens and found.seconds:
        time = found.seconds
        ms = Range(time.low * 1e3, time.expected * 1e3, None if time.high is None else time.high * 1e3)
        rows += [
            [f"from {count(found.sampled, 'input')}:", ""],
            ["LLM calls", amounts_text(found.calls)],
            ["input tokens, about", tokens_text(found.input_tokens)],
            ["output tokens, about", tokens_text(found.output_tokens)],
            ["cost, about", "not known, as a price is not" if found.cost is None else _cost(found.cost)],
            [f"time, {at_once:,} at once, about", times_text(ms)],
        ]
    return "\n".join(aligned(rows, indent=""))


def _cost(found: Range) -> str:
    high = "no limit" if found.high is None else f"{found.high:.4g}"
    return f"{found.expected:.4g}" + ("" if found.low == found.high else f" ({found.low:.4g} to {high})")


def batch_summary(tally: Tally, shared: int) -> str:
    """``9,997 done, 3 failed (2 input, 1 timeout), …; 29,991 calls in 12.40 s (806 inputs/s); …``"""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(tally.kinds.items()))
    parts = [f"{tally.succeeded:,} done" + (f", {tally.failed:,} failed ({kinds})" if tally.failed else "")]
    if tally.unwritten:
        parts[0] += f", {tally.unwritten:,} of them not written"
    if tally.kept:
        failed = f", {tally.kept_failed:,} of them failed" if tally.kept_failed else ""
        parts[0] += f", {tally.kept:,} were done before{failed}"
    if tally.calls:
        once = f", {shared:,} of them equal to others and not made" if shared else ""
        parts.append(
            f"{count(tally.calls, 'call')}{once} in {duration(tally.seconds * 1e3)} ({_rate(tally.rate)} inputs/s)"
        )
    if tally.tokens:
        parts.append(count(tally.tokens, "token"))
    if tally.is_priced and tally.cost:
        parts.append(f"cost {tally.cost:.4g}")
    return "; ".join(parts)
