"""What every benchmark of this folder gives: tables, the claims they bear out or not, and the raw samples."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from apxm.reports.tables import markdown

PACKAGES = (
    "apxm",
    "apache-hamilton",
    "langchain-openai",
    "langgraph",
    "langgraph-checkpoint-sqlite",
    "openai",
    "pyqwest",
    "uvloop",
)


@dataclass(frozen=True)
class Claim:
    """A target, and what came of it."""

    what: str
    measured: float
    target: float
    at_least: bool = False
    """Whether more is better; else less is."""
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.measured >= self.target if self.at_least else self.measured <= self.target

    @property
    def row(self) -> tuple[str, str, str, str]:
        sign = "≥" if self.at_least else "≤"
        return (
            self.what,
            f"{digits(self.measured)}{self.unit}",
            f"{sign} {self.target:g}{self.unit}",
            "yes" if self.met else "NO",
        )


@dataclass
class Section:
    """One benchmark."""

    title: str
    caveats: str
    """What to hold against the numbers; it stands before them."""
    tables: list[tuple[str, Sequence[str], list[Sequence[str]]]] = field(default_factory=list)
    """Caption, headers, rows."""
    claims: list[Claim] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)
    """Raw, by what was measured; units are in the names."""

    def text(self) -> str:
        lines = [f"## {self.title}", "", self.caveats, ""]
        for caption, headers, rows in self.tables:
            lines += [caption, "", *markdown(headers, rows), ""]
        if self.claims:
            lines += [*markdown(("Target", "Measured", "Wanted", "Met"), [claim.row for claim in self.claims]), ""]
        return "\n".join(lines)


Benchmark = Callable[[bool], Section]
"""Runs; with true, only far enough to see that it works."""


def digits(value: float) -> str:
    """Three that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) < 10 else 1}f}" if abs(value) >= 1 else f"{value:.3f}"


def spread(samples: Sequence[float]) -> str:
    """Median and range."""
    return f"{digits(median(samples))} [{digits(min(samples))}–{digits(max(samples))}]"


def caveats(doc: str | None) -> str:
    """What the text of a script says below how to call it."""
    return "\n\n".join(" ".join(part.split()) for part in (doc or "").split("\n\n")[2:])


def machine() -> str:
    """The machine and the versions, for people."""
    versions: list[str] = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC).date()}; {os.cpu_count()} cores ({_processor()}), load average {load:.1f} at the start; "
        f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}; "
        f"{', '.join(versions)}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def tell(text: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def standalone(benchmark: Benchmark, doc: str | None, whole: Benchmark | None = None) -> None:
    """The main program of one benchmark; `whole` measures what `make bench` has no time for."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small and few: only to see that it works")
    if whole:
        parser.add_argument("--whole", action="store_true", help="every setting, as often as it takes: up to an hour")
    parser.add_argument("--samples", type=Path, metavar="F.json", help="write the raw samples there")
    arguments = parser.parse_args()
    about = machine()
    section = (whole if whole and arguments.whole else benchmark)(arguments.quick)
    if arguments.quick:
        section.claims.clear()  # nothing was measured well enough to judge
    tell("")
    print(f"{about}\n\n{section.text()}")
    if arguments.samples:
        arguments.samples.write_text(json.dumps(section.samples, indent=1) + "\n")


def concluded(missed: Sequence[str], raw: Mapping[str, object], output: Path | None) -> int:
    """Names every target that was missed, writes what was measured, as JSON, and gives the exit status: 1 where one
    was."""
    print("\n### Missed\n")
    print("\n".join(f"- {miss}" for miss in missed) or "Nothing.")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        versions = {"apxm": version("apxm"), "python": platform.python_version()}
        output.write_text(json.dumps({"versions": versions, **raw}) + "\n")
    return 1 if missed else 0
