"""Workload 4 on a real engine: calibrated, predicted, measured on A-PXM and on LangGraph, explained.

    make bench-real, which is python -m benchmarks.real_engine [--quick] [--rounds 5] [-o benchmarks/results]

The engine is `transformers serve` with a Llama of two layers and random weights on this machine's CPU, once as it is
(one call after the other) and once with `--continuous-batching`. docs/real-engine.md has the caveats. Rounds of both
take turns, and each round calibrates and predicts anew, so a busy minute of this machine spoils one round and not all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec

from apxm.backends.settings import OpenAISettings
from apxm.cli.progress import ProgressLine
from apxm.cli.terminal import show_error
from apxm.errors import ApxmError
from apxm.runtime.loops import real_loop
from apxm.workloads.catalog import SCALABILITY
from apxm.workloads.comparing import SystemComparison
from apxm.workloads.endpoints import SharedEndpoint
from apxm.workloads.environment import bare_environment
from apxm.workloads.langgraph_system import load_peer
from apxm.workloads.measuring import Schedule
from benchmarks.real.engine import MODEL, engine, engine_versions, model_folder
from benchmarks.real.results import Discipline, Machine, Results, Round
from benchmarks.real.tables import results_text

WIDTHS = (1, 2, 4, 8, 16)
"""A comparison calibrates at up to half of the last one: 1, 2, 4, 8. So 16 is held out."""
MAX_TOKENS = 16
"""Of each answer, which is always that long: 30 ms alone, where the machine has nothing else to do."""
DISCIPLINES: dict[str, tuple[str, ...]] = {"default": (), "continuous batching": ("--continuous-batching",)}
"""Options of `transformers serve`, by what the tables call it."""


def measured_round(folder: Path, name: str, schedule: Schedule, peer: ModuleType, progress: ProgressLine) -> Round:
    with (
        engine(folder, *DISCIPLINES[name]) as address,
        bare_environment(address),
        asyncio.Runner(loop_factory=real_loop) as runner,
    ):
        settings = OpenAISettings(model=MODEL, endpoint=address, max_tokens=MAX_TOKENS, timeout_s=120)
        endpoint = SharedEndpoint(settings, f"transformers serve, {name}", lambda _iteration: None)
        comparing = SystemComparison(
            schedule, endpoint, apxm=True, peer=peer, report=lambda text: progress.say(f"{name}: {text}")
        )
        before = os.getloadavg()[0]
        compared = runner.run(comparing.run())
    assert compared.profile is not None
    return Round(
        load=(round(before, 2), round(os.getloadavg()[0], 2)),
        profile=compared.profile,
        comparison=compared.comparison,
        guesses=compared.guesses,
    )


def measured(rounds: int, schedule: Schedule) -> Results:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    with bare_environment():
        peer = load_peer(SCALABILITY.peer)
    progress = ProgressLine(wanted=True)
    found: dict[str, list[Round]] = {name: [] for name in DISCIPLINES}
    with model_folder() as folder:
        for number in range(rounds):
            for name in DISCIPLINES:
                print(f"round {number + 1} of {rounds}, {name}", file=sys.stderr)
                found[name].append(measured_round(folder, name, schedule, peer, progress))
                progress.clear()
    return Results(
        date=date,
        machine=Machine(processor(), os.cpu_count() or 1),
        versions=found["default"][0].comparison.versions | engine_versions(),
        max_tokens=MAX_TOKENS,
        disciplines=tuple(
            Discipline(name, f"transformers serve {' '.join(options)}".strip(), tuple(found[name]))
            for name, options in DISCIPLINES.items()
        ),
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description="Workload 4 on a real engine, on this machine's CPU.")
    parser.add_argument("--quick", action="store_true", help="one round of two runs: only to see that it works")
    parser.add_argument("--rounds", type=int, default=5, help="of each discipline, three runs each (default: 5)")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write real_engine.json and .md there")
    arguments = parser.parse_args()
    rounds, iterations = (1, 2) if arguments.quick else (arguments.rounds, 3)
    try:
        results = measured(rounds, Schedule(WIDTHS, iterations, 1))
    except ApxmError as error:
        show_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    text = results_text(results)
    print(text)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        data = msgspec.json.format(msgspec.json.encode(results), indent=1)
        (arguments.output / "real_engine.json").write_bytes(data + b"\n")
        (arguments.output / "real_engine.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
