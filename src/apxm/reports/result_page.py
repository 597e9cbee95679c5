"""A run as a notebook shows it: one piece of HTML that needs nothing else, and runs nothing."""

from __future__ import annotations

from html import escape
from itertools import islice
from reprlib import Repr
from typing import TYPE_CHECKING, Any

from apxm.reports.summary import count, duration, failure_lines, stopped_lines
from apxm.reports.timeline import timeline
from apxm.source import printable_lines, shortened

if TYPE_CHECKING:
    from apxm.analysis.metrics import Metrics
    from apxm.runtime.trace import Trace


class _Short(Repr):
    """Shows a value, however large it is."""

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """In its own order."""
        if level <= 0:
            return "{...}"
        shown = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in islice(x, self.maxdict)]
        return "{" + ", ".join([*shown, *(["..."] if len(x) > self.maxdict else [])]) + "}"


_SHORT = _Short()
_SHORT.maxstring = _SHORT.maxother = 400
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxtuple = 4, 20, 20, 20
_LONGEST = 4000
_MOST_FAILURES = 10
_COLORS = {"succeeded": "#2e8540", "failed": "#c0392b"}
_OTHER_COLOR = "#b7791f"


def result_html(trace: Trace, metrics: Metrics, run_id: str, *, name: str) -> str:
    """How a run of the flow called `name` ended, what it took, when its calls ran, and what it gave."""
    color = _COLORS.get(trace.status.value, _OTHER_COLOR)
    facts = " · ".join(map(_text, _facts(trace, metrics)))
    status = f'<span style="color:{color};font-weight:bold">{trace.status.value}</span>'
    parts = [
        f"<div><b>{_text(name)}</b> {status} {facts}</div>",
        timeline(trace),
        *(f'<div style="color:{_COLORS["failed"]}">{_text(line)}</div>' for line in _complaints(trace)),
        _details("value", shortened(_shown(trace.value), _LONGEST)) if trace.value is not None else "",
        f'<div style="opacity:.6;font-size:85%">run {_text(run_id)}</div>',
    ]
    return f'<div style="font-family:sans-serif;line-height:1.5">{"".join(parts)}</div>'


def _facts(trace: Trace, metrics: Metrics) -> list[str]:
    calls, run = metrics.llm, metrics.execution
    facts = [f"in {duration(run.duration_ms)}", count(calls.total_requests, "LLM call")]
    if run.nodes_reused:
        facts.append(f"{run.nodes_reused:,} from the journal")
    if run.nodes_failed:
        facts.append(f"{run.nodes_failed:,} failed")
    tokens = (calls.total_input_tokens or 0) + (calls.total_output_tokens or 0)
    if tokens:
        facts.append(count(tokens, "token"))
    if trace.cost is not None:
        facts.append(f"cost {trace.cost:.4g}")
    if calls.total_requests and metrics.work_span.speedup >= 1.05:
        facts.append(f"{metrics.work_span.speedup:.1f} times as fast as one after the other")
    return facts


def _complaints(trace: Trace) -> list[str]:
    lines = [*failure_lines(trace), *stopped_lines(trace)]
    left = len(lines) - _MOST_FAILURES
    return lines if left <= 0 else [*lines[:_MOST_FAILURES], f"and {left:,} more"]


def _shown(value: object) -> str:
    try:
        return value if isinstance(value, str) else _SHORT.repr(value)
    except Exception as error:  # of a class of the user's
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def _details(title: str, text: str) -> str:
    style = "margin:0;white-space:pre-wrap;max-height:20em;overflow:auto"
    return f'<details open><summary>{title}</summary><pre style="{style}">{_text(text)}</pre></details>'


def _text(text: str) -> str:
    return escape(printable_lines(text))
