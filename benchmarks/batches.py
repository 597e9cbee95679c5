"""How far is a batch from what its endpoint can do, and what does it hold in memory?

    python -m benchmarks.batches [--quick] [--whole]

Each input is asked about twice, the second time with the first answer, of the simulator in a process of its own, 256
inputs at once. *Ideal* is calls × latency / inputs at once, which no client reaches where that is more than the
simulator and a client can do on the processors of the machine: so the floor is a client of bare sockets in the same
turn, which writes nothing until the end and can do nothing but this. Each system is a process of its own, and what it
does before its first call does not count. `apxm batch` is the command as it is, with its journal (the default for a
real model) and without; the openai SDK is called under `asyncio.gather` with a semaphore; LangGraph by `abatch`.
Memory is the most that a process held at one moment. bespokelabs-curator is there where the environment variable
`CURATOR_PYTHON` names a Python that has it and msgspec: its packages do not go together with those of the others.
`--whole` takes 10,000 inputs, and memory up to 100,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from apxm.simulator.process import start_simulator
from benchmarks.batch_systems import Measured
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone, tell

AT_ONCE = 256
CALLS = 2
NAMES = {
    "bare": "bare sockets",
    "apxm-no-journal": "A-PXM without a journal",
    "apxm": "A-PXM",
    "gather": "asyncio.gather over the openai SDK",
    "abatch": "LangGraph, abatch",
    "curator": "bespokelabs-curator",
}


def rows(folder: Path, number: int) -> Path:
    path = folder / f"{number}.jsonl"
    path.write_text("".join(json.dumps({"text": f"<row {k}> of a text to label"}) + "\n" for k in range(number)))
    return path


def once(name: str, endpoint: str, folder: Path, number: int) -> Measured:
    python = os.environ.get("CURATOR_PYTHON", "") if name == "curator" else sys.executable
    with TemporaryDirectory(dir=folder) as own:
        # curator keeps answers there, and calls are equal from turn to turn
        environment = {**os.environ, "CURATOR_CACHE_DIR": f"{own}/cache", "OPENAI_API_KEY": "none"}
        output = Path(own) / "out.jsonl"
        command = [
            python, "-m", "benchmarks.batch_systems", name, endpoint, str(rows(folder, number)), str(output),
            str(AT_ONCE),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)


def measure(latency_ms: int, number: int, times: int, folder: Path) -> dict[str, list[Measured]]:
    names = [name for name in NAMES if name != "curator" or "CURATOR_PYTHON" in os.environ]
    found: dict[str, list[Measured]] = {name: [] for name in names}
    with start_simulator(latency=f"constant:{latency_ms}") as simulator:
        once("bare", simulator.endpoint, folder, AT_ONCE)  # the first calls find nothing warm
        for turn in range(times):
            for name in names:
                tell(f"{NAMES[name]}, {latency_ms} ms: {turn + 1} of {times}")
                found[name].append(once(name, simulator.endpoint, folder, number))
    return found


def table(section: Section, latency_ms: int, number: int, found: dict[str, list[Measured]]) -> None:
    ideal = number * CALLS * latency_ms / 1e3 / min(AT_ONCE, number)
    body = [("ideal", digits(ideal), "1", "–")]
    for name, each in found.items():
        walls = [one.wall_s for one in each]
        share = digits(ideal / median(walls))
        body.append((NAMES[name], spread(walls), share, digits(median(one.peak_mb for one in each))))
        section.samples[f"seconds, {number} inputs, {latency_ms} ms, {NAMES[name]}"] = walls
        section.samples[f"MB, {number} inputs, {latency_ms} ms, {NAMES[name]}"] = [one.peak_mb for one in each]
    caption = f"{number:,} inputs of two calls of {latency_ms} ms, {AT_ONCE} at once."
    section.tables.append((caption, ("System", "Seconds", "Of the ideal", "Most memory, MB"), list(body)))


def ratio(found: dict[str, list[Measured]], one: str, other: str) -> float:
    """How many times as long the other one takes, turn by turn."""
    return median(b.wall_s / a.wall_s for a, b in zip(found[one], found[other], strict=True))


def sized(number: int, times: int, few: int, many: int) -> Section:
    section = Section("Batches", caveats(__doc__))
    with TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        waits = measure(500, number, max(1, times - 2), folder)
        busy = measure(50, number, times, folder)
        with start_simulator(latency="constant:5") as simulator:
            memory = [once("apxm", simulator.endpoint, folder, size).peak_mb for size in (few, many)]
    table(section, 500, number, waits)
    table(section, 50, number, busy)
    if "curator" not in busy:
        section.caveats += "\n\nbespokelabs-curator was not there (`CURATOR_PYTHON`)."
    body = [(f"{few:,}", digits(memory[0])), (f"{many:,}", digits(memory[1]))]
    section.tables.append(("Memory of `apxm batch`, with a journal.", ("Inputs", "Most memory, MB"), list(body)))
    section.samples[f"MB at {few} and {many} inputs"] = memory
    ideal = number * CALLS * 0.5 / min(AT_ONCE, number)
    section.claims += [
        Claim(
            "of the ideal, where the endpoint is what takes time",
            ideal / median(each.wall_s for each in waits["apxm"]),
            0.9,
            at_least=True,
        ),
        Claim("rate, of that of bare sockets, calls of 500 ms", ratio(waits, "apxm", "bare"), 0.9, at_least=True),
        Claim("rate, of that of asyncio.gather, calls of 50 ms", ratio(busy, "apxm", "gather"), 2, at_least=True),
        Claim("rate, of that of LangGraph, calls of 50 ms", ratio(busy, "apxm", "abatch"), 3, at_least=True),
        Claim(f"memory at {many:,} inputs, of that at {few:,}", memory[1] / memory[0], 1.2),
    ]
    return section


def batches(quick: bool) -> Section:
    return sized(40, 1, 20, 40) if quick else sized(2000, 3, 500, 5000)


def whole(quick: bool) -> Section:
    return batches(quick) if quick else sized(10_000, 5, 1000, 100_000)


if __name__ == "__main__":
    standalone(batches, __doc__, whole)
