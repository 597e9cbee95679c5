"""Which flow calls which. Flows may not call themselves: every program unfolds into a finite graph."""

from __future__ import annotations

from collections import deque

from apxm.language.declarations import DeclaredFlow
from apxm.language.report import Report
from apxm.language.syntax import CallExpression, Flow

FlowCalls = dict[Flow, list[tuple[CallExpression, DeclaredFlow]]]
_MOST_SHOWN = 8


def callees_first(calls: FlowCalls, report: Report) -> list[Flow]:
    """The flows, each behind those it calls. Cycles are reported, each once, and what calls into one is left out.

    Iterative, because a chain of calls may be as long as the file.
    """
    waits_for = {flow: {callee.flow for _, callee in called} for flow, called in calls.items()}
    callers: dict[Flow, list[Flow]] = {flow: [] for flow in calls}
    for flow, callees in waits_for.items():
        for callee in callees:
            callers[callee].append(flow)
    ready = deque(flow for flow, callees in waits_for.items() if not callees)
    ordered: list[Flow] = []
    left = dict.fromkeys(calls)
    while left:
        while ready:
            flow = ready.popleft()
            ordered.append(flow)
            left.pop(flow, None)
            for caller in callers[flow]:
                waits_for[caller].discard(flow)
                if not waits_for[caller] and caller in left:
                    ready.append(caller)
        if left:
            cycle = _some_cycle(next(iter(left)), waits_for)
            _report(cycle, calls, report)
            for flow in cycle:
                # as if it called nothing, so that its callers are looked at on their own
                waits_for[flow].clear()
                left.pop(flow, None)
                ready.append(flow)
    return ordered


def _some_cycle(start: Flow, waits_for: dict[Flow, set[Flow]]) -> list[Flow]:
    """Every flow that is left waits for another one that is left, so any walk comes around."""
    path: dict[Flow, None] = {}
    flow = start
    while flow not in path:
        path[flow] = None
        flow = min(waits_for[flow], key=lambda callee: callee.span.start)
    walked = list(path)
    cycle = walked[walked.index(flow) :]
    first = min(range(len(cycle)), key=lambda i: cycle[i].span.start)
    return cycle[first:] + cycle[:first]


def _report(cycle: list[Flow], calls: FlowCalls, report: Report) -> None:
    following = cycle[1] if len(cycle) > 1 else cycle[0]
    call = next(call for call, callee in calls[cycle[0]] if callee.flow is following)
    names = [flow.name.text for flow in (*cycle, cycle[0])]
    if len(names) > _MOST_SHOWN:
        names[_MOST_SHOWN - 1 : -1] = ["…"]
    message = f"flow `{names[0]}` calls itself: {' → '.join(names)}"
    report.error(
        "flow-cycle",
        message,
        call.callee[-1].span,
        "flows cannot recurse; to repeat something, a later version of apxm has `loop`",
    )
