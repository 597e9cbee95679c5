"""Under a limit, how near does the order of calls come to the shortest run there can be? And do runs take turns?

    python -m benchmarks.slots [--quick]

All of it is on virtual time, where nothing but the order decides: 200 random graphs of 20 to 200 calls, each call
log-normal with sigma 0.4 around a mean of its own. The bound is max(T1 / P, T_inf), which no schedule can beat and not
every graph can reach. Priorities are the longest paths to the end, by what the scheduler knows of the durations:
each exactly, each mean, or the one default of their operation that every compiled program has. First-come is the order
in which calls become ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from statistics import fmean, median, quantiles

from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Operate
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.testing import ScriptedBackend
from benchmarks.graphs import fan_out, program, random_dag
from benchmarks.report import Claim, Section, caveats, standalone, tell

SLOTS = (4, 16)
SIGMA = 0.4
KNOWN = ("exact durations", "means", "defaults", "nothing: first-come")


class Graph:
    """A random graph with its durations, in ms."""

    def __init__(self, seed: int, size: int | None = None) -> None:
        random = Random(seed)
        self.predecessors = random_dag(random, size or random.randint(20, 200))
        self.means = [random.choice((200.0, 500.0, 1000.0, 2000.0)) for _ in self.predecessors]
        self.exact = [float(round(random.lognormvariate(0, SIGMA) * mean)) + 1 for mean in self.means]

    def longest_paths(self, durations: Sequence[float]) -> list[float]:
        """From the start of each node to the end."""
        rest = [0.0] * len(durations)
        for node in reversed(range(len(durations))):
            rest[node] += durations[node]
            for before in self.predecessors[node]:
                rest[before] = max(rest[before], rest[node])
        return rest

    def program(self, known: str) -> Program:
        durations = {"exact durations": self.exact, "means": self.means, "defaults": [1000.0] * len(self.means)}
        ranks = self.longest_paths(durations[known]) if known in durations else [0.0] * len(self.means)
        nodes: list[Operate] = []
        for node, before in enumerate(self.predecessors):
            arguments = (Literal(str(node)), *(Operand(i) for i in range(len(before))))
            rank = round(ranks[node])
            nodes.append(
                Operate(operation="ask", operands=tuple(before), arguments=arguments, result="str", priority=rank)
            )
        end = Operate(operation="merge", operands=tuple(range(len(nodes))), arguments=(Literal("end"),), result="str")
        return program([*nodes, end])

    def makespan(self, known: str, slots: int) -> float:
        backend = ScriptedBackend(
            script=lambda _request: "answer",
            latency_ms=lambda request: self.exact[int(request.prompt.partition("\n")[0])],
        )
        loaded = LoadedProgram(self.program(known))
        pool = BackendPool({backend.name: backend}, backend.name)
        run = Run(loaded, loaded.program.flows[0], (), pool, RunOptions(max_concurrency=slots))
        return run_virtually(run.execute()).duration / 1e6

    def bound(self, slots: int) -> float:
        return max(sum(self.exact) / slots, *self.longest_paths(self.exact))


def limits(section: Section, quick: bool) -> None:
    rows: list[tuple[str, ...]] = []
    found: dict[tuple[str, int], list[float]] = {}
    graphs = [Graph(seed) for seed in range(5 if quick else 200)]
    for slots in SLOTS:
        for known in KNOWN:
            tell(f"P = {slots}, {known}")
            ratios = [graph.makespan(known, slots) / graph.bound(slots) for graph in graphs]
            found[known, slots] = ratios
            p95 = quantiles(ratios, n=20)[-1]
            rows.append((str(slots), known, *(f"{value:.3f}" for value in (median(ratios), fmean(ratios), p95))))
            section.samples[f"makespan over bound, P = {slots}, {known}"] = ratios
            if known == "exact durations":
                section.claims.append(Claim(f"P = {slots}, {known}: median", median(ratios), 1.01))
            if known in ("exact durations", "means"):
                target = 1.05 if known == "exact durations" else 1.08
                section.claims.append(Claim(f"P = {slots}, {known}: 95th percentile", p95, target))
        gain = fmean(found["nothing: first-come", slots]) - fmean(found["defaults", slots])
        section.claims.append(Claim(f"P = {slots}: first-come's mean less that of defaults", gain, 0.0, at_least=True))
    headers = ("P", "Known to the scheduler", "Median", "Mean", "95th percentile")
    section.tables.append(("Makespan over max(T1 / P, T_inf).", headers, rows))


async def _two_runs(large: int, slots: int) -> float:
    """How long the first call of a small run waits for its slot, in durations of a call, where the slots of their
    backend are all taken by a large one that was there first."""
    backend = ScriptedBackend(script=lambda _request: "answer", max_concurrency=slots)
    pool = BackendPool({backend.name: backend}, backend.name)
    runs = [LoadedProgram(fan_out("ask", count)) for count in (large, 2)]
    first = asyncio.ensure_future(Run(runs[0], runs[0].program.flows[0], (), pool).execute())
    await asyncio.sleep(0.5)
    trace = await Run(runs[1], runs[1].program.flows[0], (), pool).execute()
    first.cancel()
    return max(record.attempts[0].granted - record.ready for record in trace.operations) / 1e9


def fairness(section: Section, quick: bool) -> None:
    large = 100 if quick else 10_000
    waited = run_virtually(_two_runs(large, 16))
    rows = [(f"{large:,}", "16", f"{waited:.2f}")]
    headers = ("Calls of the large run", "P", "Longest wait for a slot (durations of a call)")
    section.tables.append(("A run of two calls that starts beside a large one, on the same backend.", headers, rows))
    section.claims.append(Claim("longest wait of the small run, in durations of a call", waited, 1.0))


def slots(quick: bool) -> Section:
    section = Section("Slots", caveats(__doc__))
    limits(section, quick)
    fairness(section, quick)
    return section


if __name__ == "__main__":
    standalone(slots, __doc__)
