"""The results as Markdown, caveats first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, median, quantiles

from apxm.analysis.losses import TERMS
from apxm.reports.tables import markdown
from apxm.workloads.comparison import APXM, LANGGRAPH, ApxmMeasurement, SystemMeasurement
from benchmarks.real.results import Discipline, Results, Round

WITHIN = 0.20
"""How near the prediction for the held-out width is meant to come."""


def results_text(results: Results) -> str:
    return "\n".join([*_caveats(results), *(line for each in results.disciplines for line in _section(each))])


def _caveats(results: Results) -> list[str]:
    loads = [load for each in results.disciplines for found in each.rounds for load in found.load]
    first = results.disciplines[0]
    runs = sum(found.comparison.iterations for found in first.rounds)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results.versions.items()))
    return [
        f"Engine, A-PXM and LangGraph shared {results.machine.cores} cores ({results.machine.processor}) with whatever "
        f"else ran there: load average {min(loads):.1f} to {max(loads):.1f}.",
        "The model is tiny and has random weights, so most of a call is the engine's own Python, not arithmetic.",
        f"Each answer is {results.max_tokens} tokens. The engine does not report its service time: transport is part",
        "of the other terms.",
        "",
        f"{runs} runs of each system at each N, in {len(first.rounds)} rounds: each calibrated at c = 1, 2, 4, 8,",
        "predicted, and then measured. Durations in ms: median [middle half] of all runs. Speedup: isolated T1 over",
        "the median duration. Predicted, and its error against the mean of the round: median of the rounds.",
        f"{results.date}; {versions}.",
    ]


def _section(discipline: Discipline) -> Iterator[str]:
    rounds = discipline.rounds
    yield from ("", f"## {discipline.name}: `{discipline.command}`", "")
    yield from _summary(rounds)
    yield from ("", *_verdict(rounds))
    yield from ("", "### Predicted against measured, A-PXM: median error of the rounds", "", *_predictions(rounds))
    yield from ("", "### Where the time went, A-PXM (ms, means)", "", *_losses(rounds))
    yield from ("", "### Calibration: mean latency of a closed loop (ms), by round", "", *_calibrations(rounds))


def _summary(rounds: Sequence[Round]) -> list[str]:
    rows: list[list[str]] = []
    for index, n in _widths(rounds):
        apxm, langgraph = _apxm(rounds, index), _langgraph(rounds, index)
        ours, theirs = _samples(apxm), _samples(langgraph)
        isolated = median(each.t1_isolated_ms for each in apxm)
        rows.append(
            [
                str(n),
                _spread(ours),
                _spread(theirs),
                f"{isolated / median(ours):.2f}x",
                f"{isolated / median(theirs):.2f}x",
                f"{median(each.predicted_ms for each in apxm):.0f}",
                _signed(median(each.prediction_error for each in apxm)),
            ]
        )
    headers = ["N", APXM, LANGGRAPH, f"Speedup, {APXM}", f"Speedup, {LANGGRAPH}", "Predicted", "Error"]
    return markdown(headers, rows)


def _verdict(rounds: Sequence[Round]) -> list[str]:
    index, n = list(_widths(rounds))[-1]
    errors = [each.prediction_error for each in _apxm(rounds, index)]
    outcome = "within" if abs(median(errors)) <= WITHIN else "MISSED, not within"
    found = ", ".join(_signed(error) for error in errors)
    return [f"N = {n} was held out: {outcome} {WITHIN:.0%} in the median. By round: {found}."]


def _predictions(rounds: Sequence[Round]) -> list[str]:
    guesses = list(rounds[0].guesses)
    rows: list[list[str]] = []
    for index, n in _widths(rounds):
        found = list(zip(_apxm(rounds, index), rounds, strict=True))
        errors = [each.prediction_error for each, _ in found]
        row = [str(n), _signed(median(errors)), f"{_signed(min(errors))} to {_signed(max(errors))}"]
        for name in guesses:
            others = [
                guess / each.duration_ms - 1
                for each, round_ in found
                if (guess := round_.guesses[name].get(n)) is not None
            ]
            row.append(_signed(median(others)) if others else "–")
        rows.append(row)
    return markdown(["N", "A-PXM", "of the rounds", *guesses], rows)


def _losses(rounds: Sequence[Round]) -> list[str]:
    rows: list[list[str]] = []
    for index, n in _widths(rounds):
        apxm = _apxm(rounds, index)
        means = [fmean(getattr(each.losses_ms, term) for each in apxm) for term in TERMS]
        rows.append([str(n), *(f"{mean + 0.0:.1f}" for mean in means), f"{sum(means):.1f}"])
    return markdown(["N", *TERMS, "= duration"], rows)


def _calibrations(rounds: Sequence[Round]) -> list[str]:
    rows = [
        [str(number), *(f"{level.latency_ms:.1f}" for level in found.profile.levels), found.profile.discipline]
        for number, found in enumerate(rounds, start=1)
    ]
    levels = rounds[0].profile.levels
    return markdown(["round", *(f"c = {level.concurrency}" for level in levels), "discipline found"], rows)


def _widths(rounds: Sequence[Round]) -> Iterator[tuple[int, int]]:
    return enumerate(result.n for result in rounds[0].comparison.results)


def _apxm(rounds: Sequence[Round], index: int) -> list[ApxmMeasurement]:
    return [found for each in rounds if (found := each.comparison.results[index].apxm) is not None]


def _langgraph(rounds: Sequence[Round], index: int) -> list[SystemMeasurement]:
    return [found for each in rounds if (found := each.comparison.results[index].langgraph) is not None]


def _samples(measured: Sequence[SystemMeasurement]) -> list[float]:
    return [sample for each in measured for sample in each.samples_ms]


def _spread(samples: Sequence[float]) -> str:
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return f"{middle:.0f} [{low:.0f}–{high:.0f}]"


def _signed(fraction: float) -> str:
    return f"{fraction:+.1%}"
