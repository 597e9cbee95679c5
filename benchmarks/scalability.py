"""How near does workload 4 come to N, on A-PXM and on LangGraph?

    python benchmarks/scalability.py [--quick] [-o benchmarks/results/scalability.json]

Needs the extra `bench`. Caveats: the endpoint is simulated, over real HTTP; it, A-PXM and LangGraph share one machine,
and on few cores the endpoint's own work, and whatever else runs there, is part of what is measured. Wide fan-outs are
limited by what a client costs per call, so they compare HTTP clients at least as much as schedulers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from statistics import median

import msgspec

from apxm.reports.tables import markdown
from apxm.runtime.loops import real_loop
from apxm.workloads.catalog import SCALABILITY
from apxm.workloads.comparing import ComparisonOutcome, SystemComparison
from apxm.workloads.comparison import ComparisonResults
from apxm.workloads.comparison_tables import comparison_text
from apxm.workloads.endpoints import simulated
from apxm.workloads.langgraph_system import load_peer
from apxm.workloads.measuring import Schedule

CLAIMED = 0.985
"""Efficiency (isolated) of A-PXM at N = 2, 4 and 8 with calls of a second: the median of the runs."""


def compare(latency: str, slowdown: str, schedule: Schedule) -> ComparisonOutcome:
    with simulated(latency, slowdown) as endpoint, asyncio.Runner(loop_factory=real_loop) as runner:
        peer = load_peer(SCALABILITY.peer)
        comparing = SystemComparison(schedule, endpoint, apxm=True, peer=peer, report=_tell)
        compared = runner.run(comparing.run())
    _tell("")
    print(f"## {compared.comparison.endpoint}\n\n{comparison_text(compared.comparison, compared.guesses)}\n")
    return compared


def efficiencies(comparison: ComparisonResults) -> dict[int, float]:
    """Of A-PXM, by width: the median over the runs."""
    return {
        result.n: median(result.apxm.t1_isolated_ms / sample / result.n for sample in result.apxm.samples_ms)
        for result in comparison.results
        if result.apxm is not None
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Workload 4 on A-PXM and LangGraph, against the ideal.")
    parser.add_argument("--quick", action="store_true", help="calls of 100 ms and few runs: only to see that it works")
    parser.add_argument("-o", "--output", type=Path, help="write all samples and versions there, as JSON")
    arguments = parser.parse_args()
    quick = arguments.quick
    latency = "constant:100" if quick else "constant:1000"

    print(f"{os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} before; endpoint, A-PXM and LangGraph share them.\n")
    narrow = compare(latency, "none", Schedule((2, 4, 8), 3 if quick else 15, 1))
    reached = efficiencies(narrow.comparison)
    if not quick:  # the claim is about calls of a second
        rows = [(str(n), f"{found:.2%}", "yes" if found >= CLAIMED else "NO") for n, found in reached.items()]
        print("\n".join(markdown(("N", "Efficiency, median", f"≥ {CLAIMED:.1%}"), rows)) + "\n")
    wide = compare(latency, "none", Schedule((1, 8, 64, 256, 1024), 1 if quick else 5, 1))
    slowed = compare(latency, "usl:0.05,0.0001", Schedule((1, 2, 4, 8, 16, 32), 1 if quick else 5, 1))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        # With the profile and the guesses of simpler models, every table can be made again from it.
        data = msgspec.json.encode([vars(compared) for compared in (narrow, wide, slowed)])
        arguments.output.write_bytes(msgspec.json.format(data, indent=1) + b"\n")
    sys.exit(min(reached.values()) < CLAIMED and not quick)


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
