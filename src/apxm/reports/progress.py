"""How far a run is, on a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from apxm.reports.summary import count

if TYPE_CHECKING:
    from apxm.runtime.progress import Progress


def progress_text(progress: Progress, width: int) -> str:
    """``3 done, 8 running, 2 waiting; 0:12; at most 8; 1,234 tokens; cost 0.0021``, in less than `width` characters."""
    parts = [
        f"{progress.done:,} done, {progress.running:,} running, {progress.waiting:,} waiting",
        elapsed_text(progress.elapsed_ns // 1_000_000_000),
        *found_text(progress.found),
        *([count(progress.tokens, "token")] if progress.tokens else []),
        *([] if progress.cost is None else [f"cost {progress.cost:.4g}"]),
    ]
    # What does not fit is left out whole: half of a number would be another one.
    while len(parts) > 1 and len("; ".join(parts)) >= width:
        parts.pop()
    return "; ".join(parts)


def found_text(found: Sequence[int]) -> list[str]:
    """How many calls may be in flight at endpoints where that is found."""
    return [f"at most {', '.join(f'{most:,}' for most in found)} at once"] if found else []


def elapsed_text(seconds: int) -> str:
    """``0:07``, ``12:34``, ``1:02:03``: of one width for a while, so that the line does not jump."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
