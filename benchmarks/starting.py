"""How long until the command line is there, beside the import of LangGraph?

    python -m benchmarks.starting [--quick]

Whole processes, their files in the page cache, taking turns.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.report import Claim, Section, caveats, spread, standalone, tell

HELLO = 'agent Hello { @entry flow hello() -> str { return ask("Say hello.") } }\n'


def starting(quick: bool) -> Section:
    section = Section("Starting", caveats(__doc__))
    with TemporaryDirectory() as folder:
        source, artifact = Path(folder) / "hello.ais", Path(folder) / "hello.apxmobj"
        source.write_text(HELLO)
        python = [sys.executable]
        apxm = [*python, "-m", "apxm"]
        subprocess.run([*apxm, "compile", str(source), "-o", str(artifact)], check=True, stderr=subprocess.DEVNULL)
        run = [*apxm, "run", str(artifact), "--backend", "simulated", "--latency", "constant:0"]
        commands = {
            'python -c ""': [*python, "-c", ""],
            "apxm --version": [*apxm, "--version"],
            "apxm run hello.apxmobj": run,
            'python -c "import langgraph.graph"': [*python, "-c", "import langgraph.graph"],
        }
        samples: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(2 if quick else 16):
            for name, command in commands.items():
                tell(f"{name}, {turn}")
                begun = perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if turn:
                    samples[name].append((perf_counter() - begun) * 1e3)
    peer = median(samples['python -c "import langgraph.graph"'])
    rows = [(f"`{name}`", spread(found), f"{median(found) / peer:.2f}") for name, found in samples.items()]
    section.tables.append(("Median [range].", ("Command", "Wall time (ms)", "× LangGraph's import"), rows))
    section.samples |= {f"ms, {name}": found for name, found in samples.items()}
    for name, target in (("apxm --version", 0.15), ("apxm run hello.apxmobj", 0.35)):
        section.claims.append(Claim(f"`{name}` over the import", median(samples[name]) / peer, target))
    return section


if __name__ == "__main__":
    standalone(starting, __doc__)
