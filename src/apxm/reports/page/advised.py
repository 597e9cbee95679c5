"""What would have helped, as a page has it: for runs that are soon run again often enough."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from apxm.advice.advise import advise
from apxm.advice.graph import measured
from apxm.advice.measured import MeasuredRun
from apxm.errors import ApxmError
from apxm.reports.page.model import Reported

MOST_OPERATIONS = 1500
"""Of larger runs a page would take too long to write."""
_MOST_RERUN = 20_000


def advised(reported: Reported) -> dict[str, Any] | None:
    """None where nothing can be said: of a run that goes on, or was killed, or waited for nothing."""
    if reported.goes_on or not reported.is_whole or not reported.trace.raw:
        return None
    if len(reported.trace.raw) > MOST_OPERATIONS:
        return too_large(f"`apxm explain {reported.run_id}`")
    try:
        return of_measured(measured(reported.trace, [round(at * 1e6) for at, _ in reported.breaks]))
    except ApxmError:  # what an edited run has left need not fit together
        return None


def of_measured(run: MeasuredRun) -> dict[str, Any]:
    return asdict(advise(run, most=_MOST_RERUN))


def too_large(who: str) -> dict[str, Any]:
    """What is said instead."""
    note = f"The run is too large to be run again for its page: {who} does it."
    return {"fits": None, "gains": (), "unsure": (), "notes": (note,), "duration_ms": 0.0, "rerun_ms": 0.0}
