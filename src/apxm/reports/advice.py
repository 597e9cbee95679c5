"""What would have made a run quicker: ``apxm explain RUN_ID``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apxm.advice.advise import Advice, Gain
from apxm.reports.summary import duration
from apxm.reports.tables import aligned, paragraph

_NOTHING_MS = 0.005
_SHOWN = 12
"""So many changes are shown; all are in the JSON."""


def advice_text(found: Advice, what: str, of: str) -> str:
    """`what` is the run, `of` who or what knows how its endpoints behave."""
    off = abs(found.rerun_ms / found.duration_ms - 1) if found.duration_ms else 0.0
    again = f"{duration(found.rerun_ms)} ({off:.1%} off)" if found.rerun_ms else "nothing in it waited"
    rows = [[what, duration(found.duration_ms)], ["run again from its trace, as it was", again], ["endpoints", of]]
    lines = aligned(rows, indent="")
    if found.gains:
        lines += ["", "what would have helped:", *_table(found.gains)]
    elif found.fits:
        lines += ["", *paragraph("No single change would have made it shorter by a hundredth.")]
    if found.unsure:
        lines += ["", "of which this run does not tell whether it helps:", *_table(found.unsure)]
    for note in dict.fromkeys((*_unseen((*found.gains, *found.unsure)), *found.notes)):
        lines += ["", *paragraph(note)]
    return "\n".join(lines)


def _table(gains: Sequence[Gain]) -> list[str]:
    return aligned([_row(gain) for gain in gains[:_SHOWN]])


def _row(gain: Gain) -> list[str]:
    return [
        _signed(gain.ms),
        f"{-gain.percent:+.0f}%".replace("-", "−"),
        _range(gain),
        gain.change,
        gain.where,
        _cost(gain),
    ]


def _signed(ms: float) -> str:
    """How much longer the run would have been."""
    if abs(ms) < _NOTHING_MS:
        return "nothing"
    return f"−{duration(ms)}" if ms > 0 else f"+{duration(-ms)}"


def _range(gain: Gain) -> str:
    low, high = _signed(gain.low_ms), _signed(gain.high_ms)
    return "" if low == high else f"{low} to {high}"


def _cost(gain: Gain) -> str:
    if gain.cost is None:
        return "costs more: the price is not known" if gain.kind == "hedging" else "the price is not known"
    return "" if abs(gain.cost) < 1e-12 else f"costs {gain.cost:+.4g}".replace("-", "−")


def _unseen(gains: Sequence[Gain]) -> Iterator[str]:
    for gain in gains:
        if gain.unseen is not None:
            yield (
                f"The run never had more than {gain.unseen:,} calls in flight at one endpoint. What more of them do to "
                "each other is a guess, and nothing at all may be gained by them."
            )
            return
