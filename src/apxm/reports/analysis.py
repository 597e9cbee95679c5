"""A flow before any run, and its simulated runs: ``apxm analyze`` and ``apxm simulate``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apxm.analysis.predict import Prediction
from apxm.analysis.static import Analysis, ConcurrencyEstimate, Held, Loop, Range
from apxm.program.frames import MOST_OPEN_TURNS
from apxm.reports.summary import count, duration
from apxm.reports.tables import aligned, markdown, paragraph

_TURN = re.compile(r"\[[0-9]+\]")


def analysis_text(found: Analysis) -> str:
    rows = [
        ["flow", found.flow],
        ["latencies", found.latencies],
        ["T1, all calls", times_text(found.t1_ms)],
        ["T_inf, the longest path", times_text(found.t_inf_ms)],
        ["parallelism", f"{found.parallelism:.2f}"],
        ["LLM calls", amounts_text(found.calls)],
        ["input tokens, about", tokens_text(found.input_tokens)],
        ["output tokens, about", tokens_text(found.output_tokens)],
    ]
    if found.unknown:
        rows.append(["not given", f"{', '.join(found.unknown)}: counted as empty, and a list as of any length"])
    lines = [*aligned(rows, indent=""), "", "critical path:"]
    lines += aligned(
        [[duration(s.duration_ms), s.operation, s.path, s.where] for s in found.critical_path] or [["none"]]
    )
    if found.loops:
        lines += ["", "loops:", *aligned([_loop(loop) for loop in found.loops])]
        lines += [f"  {line}" for line in _assumed(found.loops)]
    if helps := [_help(loop, held, found.t_inf_ms.expected) for loop in found.loops for held in loop.held_by]:
        lines += ["", "what would help:", *aligned(helps)]
    lines += ["", *_bounds(found.at)]
    note = "Bounds hold while a call takes as long as if it were alone; predictions include contention."
    if any(loop.turns.expected > MOST_OPEN_TURNS for loop in found.loops):
        note += f" Bounds are as if all turns could be open at once: with {MOST_OPEN_TURNS:,} a run may take longer."
    lines += ["", *paragraph(note), *_unknown(found.unknown_lengths)]
    return "\n".join(lines)


def prediction_text(found: Prediction) -> str:
    """The distribution of simulated runs."""
    samples = sorted(found.samples_ms)
    calls = f"{found.calls:,.1f}".removesuffix(".0")
    head = f"{count(len(samples), 'simulated run')}, {calls} LLM calls each"
    if len(samples) == 1:
        why = "one of many that are possible" if found.random else "nothing in it is random"
        return f"{head}: {duration(found.mean_ms)} ({why})"
    low, high = found.ci95_ms
    rows = [
        ["mean", f"{duration(found.mean_ms)} (95% interval {duration(low)} to {duration(high)})"],
        ["80% of runs", " to ".join(map(duration, found.interval80_ms))],
        *([name, duration(_quantile(samples, share))] for name, share in _QUANTILES),
    ]
    return "\n".join([f"{head}:", *aligned(rows), *_unknown(found.unknown)])


def _unknown(operations: Sequence[str]) -> list[str]:
    if not operations:
        return []
    names = ", ".join(operations)
    return [
        "",
        *paragraph(f"Nobody knows how long these answers are, so that is drawn: {names}. `max_tokens` would say it."),
    ]


def _assumed(loops: Sequence[Loop]) -> list[str]:
    """What is said of a `for` over a list that nobody knows; each place once, whatever turn it is opened in."""
    unknown = [loop for loop in loops if loop.operation == "for" and loop.turns.low != loop.turns.high]
    if not unknown:
        return []
    names = ", ".join(dict.fromkeys(_TURN.sub("", loop.path) for loop in unknown))
    return [f"how many turns is assumed of {names}: `--with NAME=N` says it, by this name or a parameter's"]


def _help(loop: Loop, held: Held, t_inf_ms: float) -> list[str]:
    if held.is_carried:
        without = f"if no turn needed `{held.what}` from the one before"
    else:
        without = f"if calls of {held.what} needed no order" + (", as `readonly` ones" if held.what != "print" else "")
    then = (
        f"each would end {duration(held.next_ms)} after the one before"
        if held.next_ms
        else "all turns would run at once"
    )
    span, now = duration(held.t_inf_ms), duration(t_inf_ms)
    return [loop.path, without, then, "" if span == now else f"T_inf {span}, not {now}"]


def _loop(loop: Loop) -> list[str]:
    turns, later = loop.turns, "each turn beside the others"
    if loop.next_ms:
        later = f"each turn ends {duration(loop.next_ms)} after the one before"
    number = f"{amounts_text(turns)} {'turn' if turns.low == turns.high == 1 else 'turns'}"
    return [loop.path, loop.operation, number, f"{times_text(loop.t1_ms)} of calls in each", later, loop.where]


_QUANTILES = (("least", 0.0), ("5%", 0.05), ("50%", 0.5), ("95%", 0.95), ("most", 1.0))


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]


def _bounds(at: Sequence[ConcurrencyEstimate]) -> list[str]:
    rows = [
        [str(a.slots), duration(a.lower_ms), _limit(a.upper_ms), duration(a.predicted_ms), _interval(a)] for a in at
    ]
    return markdown(["calls at once", "not below", "not above", "predicted", "80% of runs"], rows)


def _interval(at: ConcurrencyEstimate) -> str:
    low, high = at.interval80_ms
    return "–" if low == high else f"{duration(low)} to {duration(high)}"


def times_text(found: Range) -> str:
    if found.low == found.high:
        return duration(found.expected)
    return f"{duration(found.expected)} ({duration(found.low)} to {_limit(found.high)})"


def _limit(ms: float | None) -> str:
    return "no limit" if ms is None else duration(ms)


def tokens_text(found: Range) -> str:
    """Whole ones, as there are no others, though half of one may be expected."""
    return amounts_text(Range(round(found.low), round(found.expected), found.high))


def amounts_text(found: Range) -> str:
    if found.low == found.high:
        return f"{found.low:,.0f}"
    high = "no limit" if found.high is None else f"{found.high:,.0f}"
    return f"{found.expected:,.1f} ({found.low:,.0f} to {high})".replace(".0 (", " (")
