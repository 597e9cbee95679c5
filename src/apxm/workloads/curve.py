"""The speedup curve: small in the terminal, and as SVG or PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module
from math import exp, log
from pathlib import PurePath
from typing import Any

from apxm.errors import UsageError
from apxm.workloads.comparison import APXM, LANGGRAPH, ComparisonResults, SystemMeasurement

_WIDTH, _HEIGHT = 56, 14
_LINEAR_UP_TO = 16
"""Widths beyond this are drawn on logarithmic axes: on others the small ones would lie on one another."""

_MARKS = {APXM: "*", LANGGRAPH: "o"}
_BOTH, _THEORETICAL = "@", "."

# Okabe and Ito's palette, which the colour-blind can tell apart; markers and dashes tell the same without any colour.
_STYLES = {
    APXM: {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    LANGGRAPH: {"color": "#D55E00", "marker": "s", "linestyle": "-."},
}
_FORMATS = (".svg", ".png")


def terminal_curve(comparison: ComparisonResults) -> str:
    """Speedup over N as in the seed, with the characters every terminal has."""
    widths = [result.n for result in comparison.results]
    systems = comparison.systems
    top = max([*widths, *(m.speedup for found in systems.values() for _, m in found)])
    across, up = _Axis(widths[-1], _WIDTH), _Axis(top, _HEIGHT)
    canvas = [[" "] * (_WIDTH + 1) for _ in range(_HEIGHT + 1)]
    for column in range(_WIDTH + 1):
        row = up.position(across.value(column))
        if 0 <= row <= _HEIGHT:
            canvas[row][column] = _THEORETICAL
    for name, found in systems.items():
        for n, m in found:
            row, column = max(0, up.position(m.speedup)), across.position(n)
            canvas[row][column] = _MARKS[name] if canvas[row][column] in " ." else _BOTH

    labels = {up.position(n): str(n) for n in widths if up.position(n) <= _HEIGHT}
    lines = ["Speedup"]
    for row in range(_HEIGHT, -1, -1):
        lines.append(f"{labels.get(row, ''):>7} |{''.join(canvas[row])}".rstrip())
    lines.append(f"{'':7} +{'-' * (_WIDTH + 1)}> N")
    ticks = [" "] * (_WIDTH + 6)
    for n in widths:
        column, text = across.position(n), str(n)
        if all(tick == " " for tick in ticks[max(0, column - 1) : column + len(text) + 1]):
            ticks[column : column + len(text)] = text
    lines.append(f"{'':9}{''.join(ticks)}".rstrip())
    legend = [f"{_MARKS[name]} {name}" for name in systems]
    both = [f"{_BOTH} both"] if len(systems) > 1 else []
    lines.append(f"{'':9}{'   '.join([*legend, *both, f'{_THEORETICAL} theoretical (y = x)'])}")
    return "\n".join(lines)


class _Axis:
    """A scale from values, 1 and up, to `steps` cells; logarithmic where the largest value is large."""

    def __init__(self, high: float, steps: int) -> None:
        self._logarithmic = high > _LINEAR_UP_TO
        self._steps = steps
        self._low = self._scaled(1)
        self._range = (self._scaled(high) - self._low) or 1.0

    def position(self, value: float) -> int:
        return round((self._scaled(value) - self._low) / self._range * self._steps)

    def value(self, position: int) -> float:
        scaled = self._low + self._range * position / self._steps
        return exp(scaled) if self._logarithmic else scaled

    def _scaled(self, value: float) -> float:
        return log(max(value, 1e-3)) if self._logarithmic else value


def check_plotting(path: str) -> None:
    """Raises `UsageError` where `draw_curve` could not draw such a file."""
    if PurePath(path).suffix.lower() not in _FORMATS:
        raise UsageError(f"--plot {path}: the name must end in {' or '.join(_FORMATS)}")
    try:
        import_module("matplotlib.figure")
    except ImportError:
        raise UsageError("--plot needs matplotlib, which is not installed", hint="pip install 'apxm[plots]'") from None


def draw_curve(comparison: ComparisonResults, suffix: str) -> bytes:
    """The curve as a file of this kind, `.svg` or `.png`."""
    matplotlib: Any = import_module("matplotlib")
    figure_module: Any = import_module("matplotlib.figure")  # without pyplot: no window system, no global state
    widths = [result.n for result in comparison.results]
    with matplotlib.rc_context({"svg.hashsalt": "apxm", "svg.fonttype": "none", "font.size": 11}):
        figure: Any = figure_module.Figure(figsize=(6.4, 4.8), layout="constrained")
        axes: Any = figure.add_subplot()
        axes.plot(widths, widths, color="#555555", linestyle="--", linewidth=1.2, zorder=3, label="Theoretical (y = x)")
        for name, found in comparison.systems.items():
            _draw_system(axes, name, found)
        if widths[-1] > _LINEAR_UP_TO:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
        axes.set_xticks(widths, [str(n) for n in widths])
        axes.set_yticks(widths, [str(n) for n in widths])
        axes.minorticks_off()
        axes.set_xlabel("N (independent calls)")
        axes.set_ylabel("Speedup (T1 isolated / T measured)")
        axes.set_title(f"Workload {comparison.workload}\n{comparison.endpoint}", fontsize=11)
        axes.grid(color="#DDDDDD", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left")
        # An SVG carries its date unless told not to: two drawings of the same numbers are the same bytes.
        metadata = {"Date": None} if suffix.lower() == ".svg" else {}
        file = io.BytesIO()
        figure.savefig(file, format=suffix.removeprefix(".").lower(), dpi=150, metadata=metadata)
    return file.getvalue()


def _draw_system(axes: Any, name: str, found: Sequence[tuple[int, SystemMeasurement]]) -> None:
    speedups = [m.speedup for _, m in found]
    # The interval is of the duration: the shortest gives the largest speedup.
    low = [max(0.0, m.speedup - m.t1_isolated_ms / m.duration_ci95_ms[1]) for _, m in found]
    high = [max(0.0, m.t1_isolated_ms / m.duration_ci95_ms[0] - m.speedup) for _, m in found]
    widths = [n for n, _ in found]
    axes.errorbar(
        widths, speedups, yerr=[low, high], capsize=3, linewidth=1.8, markersize=7, label=name, **_STYLES[name]
    )
