"""Two branches, 200 then 1,000 ms and 1,000 then 200 ms, joined: does the faster first half wait for the slower one?

    python -m benchmarks.skew [--quick]

The ideal is 1.2 s. A scheduler that runs in supersteps, as LangGraph does, needs 2 s: its second step begins when the
first has ended in both branches. On real time, in this process; a call is a sleep of the event loop, so nothing but
the order of things is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter

from apxm.backends.protocol import BackendInfo, ModelAnswer, ModelRequest
from apxm.compiler.pipeline import compile_source
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.loops import real_loop
from apxm.source import SourceFile
from benchmarks.peers import skewed_langgraph
from benchmarks.report import Claim, Section, caveats, digits, spread, standalone
from benchmarks.scheduling import Instant, run

SOURCE = """
agent Skew {
    @entry flow skew() -> str {
        ask("200") -> a
        ask("1000", a) -> b
        ask("1000") -> c
        ask("200", c) -> d
        merge(b, d) -> all
        return all
    }
}
"""


class Sleeping(Instant):
    """Takes as many ms as the prompt says."""

    info = BackendInfo(name="sleeping", kind="sleeping", model="none")

    def __init__(self, scale: float) -> None:
        self._scale = scale

    async def call(self, request: ModelRequest) -> ModelAnswer:
        await asyncio.sleep(int(request.prompt.partition("\n")[0]) / 1e3 * self._scale)
        return ModelAnswer("answer")


def skew(quick: bool) -> Section:
    section = Section("A skewed graph", caveats(__doc__))
    scale = 0.02 if quick else 1.0
    program = LoadedProgram(compile_source(SourceFile("skew.ais", SOURCE)).program)
    langgraph = skewed_langgraph(scale)
    systems: dict[str, Callable[[], Awaitable[object]]] = {
        "A-PXM": lambda: run(program, Sleeping(scale)),
        "LangGraph": langgraph,
    }
    samples: dict[str, list[float]] = {name: [] for name in systems}

    async def measure() -> None:
        for _ in range(1 if quick else 5):
            for name, once in systems.items():
                begun = perf_counter()
                await once()
                samples[name].append(perf_counter() - begun)

    with asyncio.Runner(loop_factory=real_loop) as runner:
        runner.run(measure())
    ideal = 1.2 * scale
    rows = [(name, spread(found), f"{digits(median(found) / ideal)}") for name, found in samples.items()]
    section.tables.append(("Median [range] of the runs.", ("System", "Wall time (s)", "× the ideal"), rows))
    section.samples |= {f"s, {name}": found for name, found in samples.items()}
    beside = median(samples["LangGraph"]) / median(samples["A-PXM"])
    section.claims.append(Claim("LangGraph's wall time over A-PXM's", beside, 1.6, at_least=True))
    return section


if __name__ == "__main__":
    standalone(skew, __doc__)
