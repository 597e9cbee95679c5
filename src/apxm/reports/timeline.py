"""When the calls of a run ran, as a small picture (SVG): a bar for each, or, of many, how many there were at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from apxm.reports.summary import count, duration
from apxm.source import printable, shortened_left

if TYPE_CHECKING:
    from apxm.runtime.trace import Trace

MOST_BARS = 40
"""Attempts that are shown as bars of their own."""
_WIDTH = 640
_ROW = 7
_HEIGHT = 60
"""That of the picture of many."""
_BINS = 160
_LONGEST_PATH = 80
_OK, _FAILED, _GIVEN_UP = "#4c78a8", "#c0392b", "#9e9e9e"


class _Span(NamedTuple):
    """One attempt, its times in ns since the run began."""

    path: str
    asked: int
    sent: int
    received: int
    outcome: str

    @property
    def color(self) -> str:
        return _OK if self.outcome == "ok" else _GIVEN_UP if self.outcome == "cancelled" else _FAILED


def timeline(trace: Trace) -> str:
    """The picture; empty for a run that asked nobody."""
    if not trace.raw:
        return ""
    total = max(1, trace.duration)
    if trace.attempts <= MOST_BARS:
        spans = sorted(_spans(trace), key=lambda span: (span.sent, span.received))
        drawn, height = _bars(spans, total), _ROW * len(spans)
        title = f"{count(len(spans), 'call')} in {duration(total / 1e6)}"
    else:
        found = [(raw[8], raw[9], raw[10]) for raw in trace.raw]
        found += [(each[2], each[3], each[4]) for raw in trace.raw for each in raw[5]]
        moved = [(sent - trace.started, received - trace.started, outcome) for sent, received, outcome in found]
        most, drawn = _area(moved, total)
        height, title = _HEIGHT, f"{count(len(moved), 'call')} in {duration(total / 1e6)}, at most {most:,} at once"
    axis = height + 13
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{_WIDTH}" height="{height + 17}" '
        f'viewBox="0 0 {_WIDTH} {height + 17}" style="max-width:100%"><title>{escape(title)}</title>'
        f'{drawn}<path d="M0 {height + 1.5}H{_WIDTH}" stroke="currentColor" stroke-opacity=".4"/>'
        f'<g font-family="sans-serif" font-size="10" fill="currentColor" fill-opacity=".7">'
        f'<text x="0" y="{axis}">0</text>'
        f'<text x="{_WIDTH / 2:g}" y="{axis}" text-anchor="middle">{escape(title)}</text>'
        f'<text x="{_WIDTH}" y="{axis}" text-anchor="end">{duration(total / 1e6)}</text></g></svg>'
    )


def _spans(trace: Trace) -> Iterator[_Span]:
    for record in trace.operations:
        path = trace.path_of(record.frame, record.node)
        for attempt in record.attempts:
            asked, sent, received = (at - trace.started for at in (attempt.asked, attempt.sent, attempt.received))
            yield _Span(path, asked, sent, received, attempt.outcome)


def _bars(spans: Sequence[_Span], total: int) -> str:
    return "".join(_bar(row, span, _WIDTH / total) for row, span in enumerate(spans))


def _bar(row: int, span: _Span, scale: float) -> str:
    """What it waited for its slot is pale."""
    y, left, begin = row * _ROW, span.asked * scale, span.sent * scale
    width = max(1.0, (span.received - span.sent) * scale)
    said = f"{shortened_left(span.path, _LONGEST_PATH)}: {duration((span.received - span.sent) / 1e6)}, {span.outcome}"
    waited = _rectangle(left, y, begin - left, _OK, opacity=0.25) if begin - left >= 1 else ""
    bar = _rectangle(min(begin, _WIDTH - 1.0), y, width, span.color)
    return f"<g><title>{escape(printable(said))}</title>{waited}{bar}</g>"


def _rectangle(x: float, y: float, width: float, color: str, opacity: float = 1) -> str:
    pale = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{_ROW - 2}" fill="{color}"{pale}/>'


def _area(spans: Sequence[tuple[int, int, str]], total: int) -> tuple[int, str]:
    """The most that there were at once, and the picture of how many there were; where some failed, a mark."""
    changes = sorted([(sent, 1) for sent, _, _ in spans] + [(received, -1) for _, received, _ in spans])
    levels, failed, level = [0] * (_BINS + 1), set[int](), 0
    at = 0
    for instant, change in changes:
        place = min(_BINS, instant * _BINS // total)
        for passed in range(at + 1, place + 1):  # as many as before
            levels[passed] = max(levels[passed], level)
        at, level = place, level + change
        levels[place] = max(levels[place], level)
    most = max(1, *levels)
    failed = {min(_BINS, end * _BINS // total) for _, end, outcome in spans if outcome not in ("ok", "cancelled")}
    step = _WIDTH / _BINS
    outline = "".join(f"V{_HEIGHT - level * _HEIGHT / most:.1f}h{step:g}" for level in levels[:_BINS])
    marks = "".join(_mark(min(place, _BINS - 1) * step) for place in sorted(failed))
    return most, f'<path d="M0 {_HEIGHT}{outline}V{_HEIGHT}Z" fill="{_OK}"/>{marks}'


def _mark(x: float) -> str:
    return f'<path d="M{x + 2:g} 0v6" stroke="{_FAILED}" stroke-width="2"/>'
