"""What does it cost to compile, per operation, and does that grow with the program?

    python -m benchmarks.compiling [--quick]

A fan-out written out in AIS, from text to `Program` at -O1. Beside it LangGraph builds and compiles the same graph from
Python objects: it parses no text and checks no types, so it does less. Each compilation starts in a process that is
warm and has a heap of its own making. A flow in Python has as many calls in a straight line and as many lines that
append in a loop; it is made from its text as when its module is imported.
"""

from __future__ import annotations

import gc
import linecache
from statistics import median
from time import perf_counter_ns

from apxm.compiler.pipeline import compile_source
from apxm.runtime.handlers.table import LoadedProgram
from apxm.source import SourceFile
from benchmarks.graphs import fan_out
from benchmarks.peers import langgraph_builder
from benchmarks.report import Claim, Section, caveats, spread, standalone, tell


def source(count: int) -> SourceFile:
    asks = "".join(f'        ask("Task {i}") -> a{i}\n' for i in range(count))
    names = ", ".join(f"a{i}" for i in range(count))
    body = f"{asks}        merge({names}) -> all\n        return all\n"
    return SourceFile("wide.ais", f"agent Wide {{\n    @entry flow main() -> str {{\n{body}    }}\n}}\n")


def python(count: int) -> str:
    asks = "".join(f"    a{i} = ask('Task {i}')\n" for i in range(count))
    appends = "".join(f"        found.append(f'{{answer}} {i}')\n" for i in range(count))
    loop = f"    for row in each(rows):\n        answer = ask(row)\n{appends}"
    return f"from apxm import ask, each, flow\n@flow\ndef main(rows):\n    found = []\n{asks}{loop}"


def rewritten(text: str) -> None:
    file = "/benchmark/wide.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), {"__name__": "wide"})


def compiling(quick: bool) -> Section:
    section = Section("Compiling", caveats(__doc__))
    counts = (10, 100) if quick else (10, 1_000, 10_000)
    largest = 1_000 if quick else 100_000
    times = 1 if quick else 7
    ours: dict[int, list[float]] = {count: [] for count in counts}
    peer: dict[int, list[float]] = {count: [] for count in counts if count <= 1_000}
    built: list[float] = []
    flows: dict[int, list[float]] = {count: [] for count in ((5, 50) if quick else (50, 500))}
    for turn in range(times + 1):
        for count in counts:
            tell(f"compiling {count:,}, {turn} of {times}")
            made = source(count)
            gc.collect()
            begun = perf_counter_ns()
            compile_source(made)
            if turn:
                ours[count].append((perf_counter_ns() - begun) / count / 1e3)
            if count in peer:
                gc.collect()
                begun = perf_counter_ns()
                langgraph_builder("fan-out", count).compile()
                if turn:
                    peer[count].append((perf_counter_ns() - begun) / count / 1e3)
        for count in flows:
            text = python(count)
            gc.collect()
            begun = perf_counter_ns()
            rewritten(text)
            if turn:
                flows[count].append((perf_counter_ns() - begun) / (2 * count) / 1e3)
    for _ in range(1 if quick else 3):
        gc.collect()
        begun = perf_counter_ns()
        LoadedProgram(fan_out("ask", largest))
        built.append((perf_counter_ns() - begun) / largest / 1e3)
    rows = [("A-PXM, compile from text", f"{count:,}", spread(found)) for count, found in ours.items()]
    rows += [("LangGraph, build and compile", f"{count:,}", spread(found)) for count, found in peer.items()]
    rows.append(("A-PXM, a Program built and loaded in memory", f"{largest:,}", spread(built)))
    rows += [("A-PXM, a flow in Python, per line", f"{2 * count:,}", spread(found)) for count, found in flows.items()]
    section.tables.append(("µs per operation.", ("What", "Operations", "Median [range]"), rows))
    section.samples |= {f"us per operation, compile, {count}": found for count, found in ours.items()}
    section.samples |= {f"us per operation, LangGraph, {count}": found for count, found in peer.items()}
    section.samples |= {f"us per line, Python, {2 * count}": found for count, found in flows.items()}
    if not quick:
        growth = median(flows[500]) / median(flows[50])
        section.claims.append(Claim("time per line of Python at 1,000 over that at 100", growth, 1.5))
        growth = median(ours[10_000]) / median(ours[1_000])
        section.claims.append(Claim("time per operation at 10,000 over that at 1,000", growth, 1.5))
        ratio = median(ours[1_000]) / median(peer[1_000])
        section.claims.append(Claim("time per operation at 1,000 over LangGraph's per node", ratio, 1.1))
    return section


if __name__ == "__main__":
    standalone(compiling, __doc__)
