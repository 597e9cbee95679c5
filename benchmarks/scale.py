"""What do a hundred thousand operations cost in memory, and a million in time, on virtual time?

    python -m benchmarks.scale [--quick]

The memory is what the run adds at its peak to a program that is loaded already, by the allocator's own count
(`tracemalloc`), results and trace included. A million operations are a thousand calls of a flow of a thousand asks, not
inlined: that is `apxm simulate`, frames and all, in a process of its own, and its time is the whole process's.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.scheduler import Run
from benchmarks.floors import bare_task_us
from benchmarks.graphs import fan_out
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone, tell


def peak_bytes(count: int) -> float:
    """Per operation."""
    program = LoadedProgram(fan_out("ask", count))
    backend = SimulatedBackend()
    gc.collect()
    tracemalloc.start()
    pool = BackendPool({"simulated": backend}, "simulated")
    trace = run_virtually(Run(program, program.program.flows[0], (), pool).execute())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert trace.executed == count + 1
    return peak / count


def nested(calls: int, asks: int) -> str:
    """A program whose entry makes `calls` calls of a flow of `asks` independent asks."""
    inner = "".join(f'        ask("Task {i}") -> a{i}\n' for i in range(asks))
    joined = ", ".join(f"a{i}" for i in range(asks))
    outer = "".join(f"        many() -> b{i}\n" for i in range(calls))
    all_ = ", ".join(f"b{i}" for i in range(calls))
    return (
        f"agent Large {{\n    flow many() -> str {{\n{inner}        return merge({joined})\n    }}\n"
        f"    @entry flow main() -> str {{\n{outer}        return merge({all_})\n    }}\n}}\n"
    )


def simulate(calls: int, asks: int, times: int) -> list[float]:
    """µs per operation, the whole process included."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "large.ais"
        path.write_text(nested(calls, asks))
        samples: list[float] = []
        for turn in range(times):
            tell(f"simulating {calls * asks:,} operations, {turn + 1} of {times}")
            begun = perf_counter()
            command = [sys.executable, "-m", "apxm", "simulate", str(path), "-O0", "--runs", "1", "--quiet"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            samples.append((perf_counter() - begun) / (calls * asks) * 1e6)
    return samples


def scale(quick: bool) -> Section:
    section = Section("Scale", caveats(__doc__))
    count = 1_000 if quick else 100_000
    memory = peak_bytes(count)
    calls, asks = (10, 10) if quick else (1_000, 1_000)
    simulated = simulate(calls, asks, 1 if quick else 3)
    rows = [
        ("memory of a fan-out on virtual time", f"{count:,}", f"{digits(memory)} bytes"),
        ("`apxm simulate`", f"{calls * asks:,}", f"{spread(simulated)} µs"),
    ]
    section.tables.append(("Per operation.", ("What", "Operations", "Each"), rows))
    section.samples["us per operation, apxm simulate"] = simulated
    section.claims.append(Claim("peak memory per operation above the loaded program", memory, 1024, unit=" bytes"))
    section.claims.append(Claim("apxm simulate, per operation: × a bare task", median(simulated) / bare_task_us(), 6))
    return section


if __name__ == "__main__":
    standalone(scale, __doc__)
