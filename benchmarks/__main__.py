"""Every claim about speed, measured beside its peers in one go.

    make bench, which is python -m benchmarks [--quick] [-o benchmarks/results.md] [NAME …]

Writes the tables, and the raw samples beside them as JSON. Each benchmark runs in a process of its own, so that none
pays for what another one has imported or left behind.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.report import machine, tell

NAMES = (
    "scheduling",
    "turns",
    "lanes",
    "fan_out",
    "skew",
    "slots",
    "concurrency",
    "rates",
    "compiling",
    "scale",
    "journal",
    "runs",
    "batches",
    "waiting",
    "starting",
    "simulator",
)

TITLE = """# Performance

Written by `make bench`. The machine is small and shared: absolute times move by half between runs, so what counts is
each ratio to a peer or a floor that was measured in the same run, and every table says what to hold against it. "NO"
is a target that was missed.
"""


def measured(name: str, quick: bool, samples: Path) -> str:
    """The section that one benchmark prints, without the line about the machine."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--samples", str(samples), *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.partition("\n\n")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small and few: only to see that they work")
    parser.add_argument("-o", "--output", type=Path, help="default: benchmarks/results.md, or nowhere with --quick")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    output = arguments.output or (None if arguments.quick else Path("benchmarks/results.md"))
    begun = monotonic()
    parts = [TITLE, f"{machine()}\n"]
    samples: dict[str, object] = {}
    with TemporaryDirectory() as folder:
        for name in arguments.names or NAMES:
            path = Path(folder) / f"{name}.json"
            parts.append(measured(name, arguments.quick, path).rstrip() + "\n")
            samples[name] = json.loads(path.read_text())
            print(parts[-1], flush=True)
    tell("")
    print(f"{(monotonic() - begun) / 60:.1f} min", file=sys.stderr)
    if output:
        output.write_text("\n".join(parts))
        raw = output.parent / "results" / "performance.json"
        raw.parent.mkdir(exist_ok=True)
        raw.write_text(json.dumps(samples, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
