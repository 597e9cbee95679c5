"""Which flow calls which. Flows may not call themselves: every program unfolds into a finite graph."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import cast

from apxm.language.findings import Findings
from apxm.language.syntax import Flow

_MOST_SHOWN = 8


def reject_cycles(findings: Findings) -> None:
    """Reports each cycle once."""
    waits_for = {flow: {callee.flow for _, callee in called} for flow, called in findings.flow_calls.items()}
    while not findings.report.full:
        try:
            TopologicalSorter(waits_for).prepare()
        except CycleError as error:
            cycle = cast(list[Flow], error.args[1])[:0:-1]  # without its first, which is its last too
            first = min(range(len(cycle)), key=lambda i: cycle[i].span.start)
            _report(cycle[first:] + cycle[:first], findings)
            for flow in cycle:
                waits_for[flow].clear()  # as if it called nothing, so that its callers are looked at on their own
        else:
            return


def _report(cycle: list[Flow], findings: Findings) -> None:
    following = cycle[1] if len(cycle) > 1 else cycle[0]
    call = next(call for call, callee in findings.flow_calls[cycle[0]] if callee.flow is following)
    names = [flow.name.text for flow in (*cycle, cycle[0])]
    if len(names) > _MOST_SHOWN:
        names[_MOST_SHOWN - 1 : -1] = ["…"]
    message = f"flow `{names[0]}` calls itself: {' → '.join(names)}"
    advice = "flows cannot recurse; to repeat something, a later version of apxm has `loop`"
    findings.report.error("flow-cycle", message, call.callee[-1].span, advice)
