"""What a run that goes on will ask, as lines for standard error and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.analysis.preview import Preview
from apxm.analysis.static import Range
from apxm.reports.summary import count
from apxm.source import printable

_NAMED = 8
"""Most operations that a line names."""


def preview_lines(preview: Preview) -> list[str]:
    """What is kept, what is asked and why, and what that takes."""
    again = [path for path in preview.asked if path in preview.unused]
    first = [path for path in preview.asked if path not in preview.unused]
    left = {*preview.asked, *preview.dependent}
    gone = [path for path in preview.unused if path not in left]
    lines = [f"{count(preview.reused, 'answer')} kept"]
    lines += _naming("asked again, with another request", again)
    lines += _naming("asked, as there is no answer yet", first)
    lines += _naming("then, as these answer", preview.dependent)
    lines += _naming("not asked for any more", gone)
    if preview.asked:
        lines.append(_takes(preview))
    return lines


def _naming(what: str, paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return [f"{what}: {printable(', '.join(paths[:_NAMED]))}{more}"]


def _takes(preview: Preview) -> str:
    tokens = _about(preview.tokens, " tokens", ",.0f")
    if preview.cost is None:
        return f"that takes {tokens}; what it costs is not known, as a price is not"
    return f"that takes {tokens}, and costs {_about(preview.cost, '', '.3g')}"


def _about(amount: Range, unit: str, digits: str) -> str:
    most = "no limit to an answer" if amount.high is None else f"at most {amount.high:{digits}}"
    return f"about {amount.expected:{digits}}{unit} ({most})"
