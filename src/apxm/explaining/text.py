"""What is found of a file or a flow, as people read it: in the style of a compiler's diagnostics."""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from typing import Literal

from apxm.explaining.explanation import Explanation, FunctionExplained, LineExplained, LoopExplained, Number, Spot
from apxm.explaining.predicting import Between, Times
from apxm.reports.summary import count, duration
from apxm.reports.tables import aligned
from apxm.source import Diagnostic, SourceFile, Span


class Explained:
    """What is found of a flow. It reads as text where it is shown; `found` has it as objects."""

    def __init__(self, found: Explanation) -> None:
        self.found = found

    def __str__(self) -> str:
        files = {loop.at.file for function in self.found.functions for loop in function.loops}
        return explanation_text(self.found, {file: "".join(linecache.getlines(file)) for file in files})

    __repr__ = __str__


def explanation_text(found: Explanation, sources: dict[str, str]) -> str:
    """All of it; `sources` are the texts of its files."""
    if not found.functions:
        return (
            f"{found.file}: no call of a model is found. `ask` and its family are, and calls that are written like\n"
            "client.chat.completions.create(…), .responses.create(…), .messages.create(…) or .invoke(…)."
        )
    files = {name: SourceFile(name, text) for name, text in sources.items()}
    parts = ["\n".join(_function(function, files)) for function in found.functions]
    sources_of_times = {
        function.times.latencies for function in found.functions if function.times and function.is_entry
    }
    return "\n\n".join([*parts, *(f"latencies: {each}" for each in sorted(sources_of_times))])


def _function(found: FunctionExplained, files: dict[str, SourceFile]) -> Iterator[str]:
    kind = "flow " if found.is_flow else ""
    yield f"{found.at.file}:{found.at.line}: {kind}{found.name}: {_number(found.calls)} {_calls(found.calls)}"
    if found.refused is not None:
        yield f"  no lane can run it: {found.refused}"
    for loop in found.loops:
        yield ""
        yield from _loop(loop, files)
    if found.together:
        yield ""
        yield from (f"  {_together(group)}" for group in found.together)
    yield ""
    yield from aligned([[f"line {site.at.line}", site.operation, f"× {_number(site.calls)}"] for site in found.sites])
    if found.is_entry:
        yield from aligned(list(_totals(found)))


def _totals(found: FunctionExplained) -> Iterator[list[str]]:
    if found.costs is not None:
        yield ["tokens, about", f"{found.costs.input_tokens} in, {found.costs.output_tokens} out"]
        if found.costs.cost is not None:
            yield ["cost, about", found.costs.cost]
    if found.times is None:
        yield ["time", found.without_times or "not known"]
    else:
        yield from _times(found.times)


def _times(found: Times) -> Iterator[list[str]]:
    at_once = _between(found.t_inf_ms)
    shown = [each for each in found.at if _between(each.predicted_ms) != at_once]
    yield from ([f"time, {each.slots:,} at once", _between(each.predicted_ms)] for each in shown)
    yield ["time, all at once" if shown else "time", at_once]


def _between(found: Between) -> str:
    low, high = duration(found.low), duration(found.high)
    return low if low == high else f"{low} … {high}"


def loop_diagnostic(loop: LoopExplained, files: dict[str, SourceFile]) -> Diagnostic:
    """What is to be said of a loop, at its first line."""
    severity: Literal["error", "warning", "note"] = "note"
    if loop.is_error:
        severity = "error"
    elif loop.promised and loop.is_held_back:
        severity = "warning"
    return Diagnostic(severity, loop.verdict.replace(" ", "-"), loop.why, span_of(loop.at, files), loop.help)


def _loop(loop: LoopExplained, files: dict[str, SourceFile]) -> Iterator[str]:
    yield loop_diagnostic(loop, files).render()
    gutter = "  "
    promise = "promised" if loop.promised else "not promised"
    if loop.each is not None:
        promise += f"; `--each {loop.each}` promises it"
    yield f"{gutter}{promise}; {_number(loop.turns)} turns, {_number(loop.calls)} {_calls(loop.calls)}"
    if not loop.is_error:
        yield from aligned(list(_lines(loop.lines)), indent="    ")


def _lines(lines: Sequence[LineExplained]) -> Iterator[list[str]]:
    for line in lines:
        inside = "" if line.inside is None else f"{line.inside.function}, line {line.inside.line}: "
        does = "waits for its turn" if line.does == "waits" else line.does
        yield [f"line {line.at.line}", does, inside + line.why]


def _together(group: Sequence[Spot]) -> str:
    lines = ", ".join(str(spot.line) for spot in group)
    return f"lines {lines} call at the same time: none needs what another one gives"


def _number(found: Number) -> str:
    if found.low == found.high:
        return found.low
    return f"{found.low} … {'no limit' if found.high is None else found.high}"


def _calls(found: Number) -> str:
    return "call" if found.low == found.high == "1" else "calls"


def span_of(spot: Spot, files: dict[str, SourceFile]) -> Span:
    """Its first line."""
    source = files[spot.file]
    start = source.line_starts[spot.line - 1] + spot.column - 1
    end_of_line = source.line_starts[spot.line - 1] + len(source.line(spot.line))
    if spot.end_line == spot.line:
        return Span(source, start, start + spot.end_column - spot.column)
    return Span(source, start, end_of_line)


def summary(found: Explanation) -> str:
    """One line about all loops."""
    loops = [loop for function in found.functions for loop in function.loops]
    counts = {verdict: sum(loop.verdict == verdict for loop in loops) for verdict in _VERDICTS}
    parts = [f"{number} {verdict}" for verdict, number in counts.items() if number]
    return f"{count(len(loops), 'loop')} around a call of a model" + (f": {', '.join(parts)}" if parts else "")


_VERDICTS = ("independent", "carried", "early exit", "unknown")
