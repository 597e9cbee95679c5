"""How far a run is, on a line, and what it is doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from apxm.reports.summary import count
from apxm.source import printable, shortened_left

if TYPE_CHECKING:
    from apxm.runtime.progress import InFlight, Progress

_LONGEST_PATH = 60


class RunningCall(Struct, frozen=True):
    """A call in flight, as ``--json`` has it."""

    path: str
    who: str
    seconds: float
    attempt: int


class RunState(Struct, frozen=True):
    """How far a run is, as ``--json`` has it: `runtime.progress.Progress`, and the calls that take longest."""

    done: int
    running: int
    waiting: int
    failed: int
    seconds: float
    tokens: int
    cost: float | None
    at_most: tuple[int, ...]
    longest: tuple[RunningCall, ...]


def run_state(progress: Progress, longest: Sequence[InFlight]) -> RunState:
    return RunState(
        progress.done, progress.running, progress.waiting, progress.failed, round(progress.elapsed_ns / 1e9, 3),
        progress.tokens, progress.cost, progress.found,
        tuple(RunningCall(each.path, each.who, round(each.since_ns / 1e9, 3), each.attempt) for each in longest),
    )  # fmt: skip


def state_lines(state: RunState, width: int) -> list[str]:
    """What it is doing: the line of `progress_text`, and one for each call that takes longest."""
    lines = [_line(state, width)]
    for call in state.longest:
        again = f", attempt {call.attempt}" if call.attempt > 1 else ""
        path = shortened_left(printable(call.path), _LONGEST_PATH)
        lines.append(f"  {elapsed_text(int(call.seconds)):>7}  {path}  {printable(call.who)}{again}"[: width - 1])
    return lines


def progress_text(progress: Progress, width: int) -> str:
    """``3 done, 8 running, 2 waiting; 0:12; at most 8; 1,234 tokens; cost 0.0021``, in less than `width` characters."""
    return _line(run_state(progress, ()), width)


def _line(state: RunState, width: int) -> str:
    failed = f", {state.failed:,} failed" if state.failed else ""
    parts = [
        f"{state.done:,} done{failed}, {state.running:,} running, {state.waiting:,} waiting",
        elapsed_text(int(state.seconds)),
        *found_text(state.at_most),
        *([count(state.tokens, "token")] if state.tokens else []),
        *([] if state.cost is None else [f"cost {state.cost:.4g}"]),
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
