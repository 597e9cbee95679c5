"""What a run's end leaves in its trace: failures, the result, and why it was stopped."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from heapq import nsmallest

from apxm.errors import OperationError
from apxm.operations.types import Value, check_size
from apxm.runtime.budget import Budget
from apxm.runtime.calls import Calls
from apxm.runtime.frames import FailureToken
from apxm.runtime.options import RunOptions
from apxm.runtime.state import State
from apxm.runtime.stopped import MOST_PENDING, StopKind, Stopped
from apxm.runtime.trace import Failure, Status, Trace
from apxm.runtime.waiting import Call


def keep_failures(trace: Trace, failed: Iterable[FailureToken], caught: Iterable[FailureToken]) -> None:
    """Keeps the failures in the order of the text, those that were caught apart."""
    trace.failures, trace.caught = _in_order(trace, failed), _in_order(trace, caught)


def _in_order(trace: Trace, failed: Iterable[FailureToken]) -> list[Failure]:
    in_text = sorted(failed, key=lambda one: _in_text(trace, one))
    return [_failure(trace, one.frame.index, one.node, one.error) for one in in_text]


def keep_result(trace: Trace, state: State) -> None:
    """What nobody could write out is no result: then the run has failed, with all that finished."""
    result: Value = state.results[0]
    try:
        check_size(result)
    except OperationError as error:
        output = state.plans[trace.flow.plan].outputs[0]
        trace.status, trace.failures = Status.FAILED, [_failure(trace, 0, output, error)]
    else:
        # A copy: the value may share parts with the program's own literals.
        trace.value = copy.deepcopy(result)


def why_stopped(
    kind: StopKind, trace: Trace, calls: Calls, budget: Budget | None, options: RunOptions, seconds: float, reason: str
) -> Stopped:
    """Before what is pending is cancelled, `seconds` after the run began; `reason` is that of a lost journal."""
    pending = calls.pending
    if kind in ("tokens", "cost"):
        first = calls.unaffordable
        worst = first[0].worst
    else:
        first = nsmallest(MOST_PENDING, pending, key=lambda call: _in_text(trace, call))
        worst = None
    paths = tuple(trace.path_of(call.frame.index, call.node) for call in first[:MOST_PENDING])
    limit, used, needed = None, seconds, None
    if kind == "timeout":
        limit = options.timeout_s
    elif worst is not None and budget is not None:
        short = budget.shortage(worst)
        limit, used, needed = short.limit, short.used, short.needed
    return Stopped(kind, limit, used, needed, paths, len(pending), reason if kind == "journal" else "")


def _in_text(trace: Trace, at: FailureToken | Call) -> tuple[tuple[int, int], tuple[int, ...]]:
    return trace.position_of(at.frame.index, at.node), at.frame.place(at.node)


def _failure(trace: Trace, frame: int, node: int, error: OperationError) -> Failure:
    return Failure(trace.path_of(frame, node), trace.place_of(frame, node), error.kind, error.message)
