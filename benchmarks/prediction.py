"""Predicted durations beside measured ones that no profile has seen: other widths, other prompts, other graphs.

    python benchmarks/prediction.py [-o benchmarks/results/prediction.json] > benchmarks/results/prediction.md

Names every row that misses what it is held to, and then ends with status 1.

All of it is on virtual time: the endpoint is simulated, and the scheduler, the calibration and the predictor are the
real ones. So it shows what calibration and extrapolation get wrong, and nothing of a network or of a real engine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from random import Random
from statistics import fmean, median, stdev

import msgspec
from msgspec import Struct

from apxm.analysis.calibrate import calibrate
from apxm.analysis.predict import predict
from apxm.analysis.probes import asks
from apxm.analysis.profile import Profile
from apxm.analysis.static import analyze
from apxm.backends.simulated import SimulatedBackend
from apxm.program.expressions import Literal, Operand
from apxm.program.nodes import Operate
from apxm.program.program import Flow, Names, NodeName, Plan, PlanNames, Program
from apxm.reports.tables import markdown
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from benchmarks.report import concluded

ENDPOINTS = (
    ("constant:1000", "none"),
    ("lognormal:1000,0.4", "none"),
    ("constant:1000", "usl:0.05,0.0001"),
    ("lognormal:1000,0.4", "usl:0.05,0.0001"),
)
"""Latency of a call alone, and slowdown."""
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
LIMITS = (1, 4, 16, None)
GRAPH_ENDPOINT = ("lognormal:1000,0.4", "usl:0.05,0.0001")
GRAPH_CONCURRENCIES = (1, 2, 4, 8, 16)
CALLS = 2000
"""Most calls of a calibration at each concurrency."""
PRECISION = 0.01
"""Standard error of a measured mean, as a part of it."""
MOST_RUNS = 5000
"""A single log-normal call with σ 0.4 takes 1,750 to be known as precisely as that."""
GRAPHS_ERROR = 0.05
"""Most that the median error of all graphs may be."""
PREDICTED_CALLS = 10_000
"""About how many calls the runs behind one prediction make."""
CALIBRATED_SEED, MEASURED_SEED, PREDICTED_SEED = 1, 2, 3

NULL_MODELS = ("T_inf, isolated", "depth × latency", "previous run")
"""The longest path at the isolated latency; the calls on it times the mean latency of the calibration's largest
concurrency; what was measured for the row before."""


class Row(Struct):
    """One thing predicted, and measured."""

    subject: str
    predicted_ms: float
    measured_ms: float
    standard_error_ms: float
    samples_ms: list[float]
    guesses_ms: list[float | None]
    """By the null models."""

    @property
    def error(self) -> float:
        return self.predicted_ms / self.measured_ms - 1

    @property
    def allowed(self) -> float:
        """5% and two standard errors of what was measured."""
        return 0.05 + 2 * self.standard_error_ms / self.measured_ms

    @property
    def met(self) -> bool:
        return abs(self.error) <= self.allowed

    @property
    def precise(self) -> bool:
        return self.standard_error_ms <= PRECISION * self.measured_ms


def fan_outs(
    latency: str, slowdown: str, widths: Sequence[int] = WIDTHS, calls: int = CALLS, precision: float = PRECISION
) -> Iterator[Row]:
    """N calls at once, each N predicted from a calibration at concurrencies up to N/2."""
    previous: float | None = None
    for width in widths:
        profile = calibrated(latency, slowdown, [c for c in widths if c <= max(1, width // 2)], calls)
        program = asks([f"Task {i}" for i in range(width)])
        row = compared(f"N = {width}", program, None, profile, (latency, slowdown), previous, precision)
        previous = row.measured_ms
        yield row


def graphs(
    count: int, limits: Sequence[int | None] = LIMITS, calls: int = CALLS, precision: float = PRECISION
) -> Iterator[Row]:
    """Random graphs under each limit, all predicted from one calibration."""
    profile = calibrated(*GRAPH_ENDPOINT, GRAPH_CONCURRENCIES, calls)
    previous: float | None = None
    for seed in range(count):
        random = Random(seed)
        operations = random.randrange(10, 201)
        program = random_graph(random, operations)
        for limit in limits:
            subject = f"graph {seed} ({operations} operations), limit {limit or 'none'}"
            row = compared(subject, program, limit, profile, GRAPH_ENDPOINT, previous, precision)
            previous = row.measured_ms
            yield row


def random_graph(random: Random, operations: int) -> Program:
    """Each call uses the answers of up to three of the twenty before it."""
    nodes: list[Operate] = []
    for i in range(operations):
        recent = range(max(0, i - 20), i)
        operands = tuple(sorted(random.sample(recent, min(len(recent), random.randrange(4)))))
        context = tuple(Operand(k) for k in range(len(operands)))
        nodes.append(
            Operate(operation="ask", operands=operands, arguments=(Literal(f"Step {i}"), *context), result="str")
        )
    names = tuple(NodeName(path=f"step{i}") for i in range(operations))
    return Program(
        plans=(Plan(nodes=tuple(nodes), inputs=0, outputs=()),),
        flows=(Flow(agent="Random", name="graph", parameters=(), result=None, plan=0),),
        entry=0,
        optimization_level=0,
        names=Names(file="random", plans=(PlanNames(path="Random.graph", nodes=names),)),
    )


def calibrated(latency: str, slowdown: str, concurrencies: Sequence[int], calls: int) -> Profile:
    backend = SimulatedBackend(latency=latency, slowdown=slowdown, seed=CALIBRATED_SEED)
    return run_virtually(calibrate(backend, date="", concurrencies=concurrencies, calls=calls)).profile


def compared(
    subject: str,
    program: Program,
    limit: int | None,
    profile: Profile,
    endpoint: tuple[str, str],
    previous: float | None,
    precision: float,
) -> Row:
    latency, slowdown = endpoint
    flow = program.flows[0]
    runs = max(100, PREDICTED_CALLS // len(program.plans[0].nodes))
    predicted = predict(program, flow, (), profile, limit, runs, PREDICTED_SEED)
    path = [step for step in analyze(program, flow, [], profile).critical_path if step.operation == "ask"]
    backend = SimulatedBackend(latency=latency, slowdown=slowdown, seed=MEASURED_SEED)
    samples = measured(LoadedProgram(program), flow, limit, backend, precision)
    return Row(
        subject=subject,
        predicted_ms=predicted.mean_ms,
        measured_ms=fmean(samples),
        standard_error_ms=standard_error(samples),
        samples_ms=[round(sample, 3) for sample in samples],
        guesses_ms=[
            len(path) * profile.isolated_ms,
            len(path) * profile.levels[-1].latency_ms,
            previous,
        ],
    )


def measured(
    program: LoadedProgram, flow: Flow, limit: int | None, backend: SimulatedBackend, precision: float
) -> list[float]:
    """Durations in ms, of as many runs as it takes to know their mean as precisely as that."""
    pool = BackendPool({backend.info.name: backend}, backend.info.name)
    samples: list[float] = []
    while len(samples) < MOST_RUNS:
        backend.start_run(len(samples))
        trace = run_virtually(Run(program, flow, (), pool, RunOptions(max_concurrency=limit)).execute())
        samples.append(trace.duration / 1e6)
        if len(samples) >= 5 and standard_error(samples) <= precision * fmean(samples):
            break
    return samples


def standard_error(samples: Sequence[float]) -> float:
    return stdev(samples) / sqrt(len(samples))


def misses(endpoint: str, rows: Sequence[Row]) -> list[str]:
    """Of rows that each have to be within what is allowed."""
    far = [
        f"{endpoint}, {row.subject}: off by {row.error:+.1%}, allowed {row.allowed:.1%}" for row in rows if not row.met
    ]
    return far + imprecise(endpoint, rows)


def misses_of_graphs(endpoint: str, rows: Sequence[Row]) -> list[str]:
    """Of rows whose median counts."""
    middle = median(abs(row.error) for row in rows)
    far = (
        [f"{endpoint}, graphs: median error {middle:.1%}, allowed {GRAPHS_ERROR:.0%}"] if middle > GRAPHS_ERROR else []
    )
    return far + imprecise(endpoint, rows)


def imprecise(endpoint: str, rows: Sequence[Row]) -> list[str]:
    return [
        f"{endpoint}, {row.subject}: standard error {row.standard_error_ms / row.measured_ms:.1%} of the mean, "
        f"allowed {PRECISION:.0%}"
        for row in rows
        if not row.precise
    ]


# --- tables --------------------------------------------------------------------------------------------------------


def fan_out_table(rows: Sequence[Row]) -> list[str]:
    headers = ["", "predicted", "measured", "error", "allowed", *NULL_MODELS]
    return markdown(headers, [[*_cells(row), *_guesses(row)] for row in rows])


def graph_table(rows: Sequence[Row]) -> list[str]:
    """Median of the absolute errors, by limit."""
    groups = {
        f"limit {limit or 'none'}": [r for r in rows if r.subject.endswith(f"limit {limit or 'none'}")]
        for limit in LIMITS
    }
    groups["all"] = list(rows)
    body: list[list[str]] = []
    for name, found in groups.items():
        errors = sorted(abs(row.error) for row in found)
        guesses = [
            median(abs(guess / row.measured_ms - 1) for row in found if (guess := row.guesses_ms[k]) is not None)
            for k in range(len(NULL_MODELS))
        ]
        worst = errors[-1]
        body.append(
            [name, *(f"{share:.1%}" for share in (median(errors), errors[int(0.95 * len(errors))], worst, *guesses))]
        )
    return markdown(["", "median error", "95%", "worst", *NULL_MODELS], body)


def _cells(row: Row) -> list[str]:
    met = "" if row.met else " (missed)"
    return [
        row.subject,
        f"{row.predicted_ms:,.0f} ms",
        f"{row.measured_ms:,.0f} ms",
        f"{row.error:+.1%}{met}",
        f"{row.allowed:.1%}",
    ]


def _guesses(row: Row) -> list[str]:
    return ["–" if guess is None else f"{guess / row.measured_ms - 1:+.1%}" for guess in row.guesses_ms]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="write the raw samples here, as JSON")
    parser.add_argument("--graphs", type=int, default=100)
    options = parser.parse_args()
    raw: dict[str, object] = {}
    missed: list[str] = []
    print("Virtual time, simulated endpoints; each width predicted from a calibration at up to half of it.")
    for latency, slowdown in ENDPOINTS:
        rows = list(fan_outs(latency, slowdown))
        endpoint = f"latency {latency}, slowdown {slowdown}"
        raw[f"{latency} {slowdown}"] = msgspec.to_builtins(rows)
        missed += misses(endpoint, rows)
        print(f"\n### {endpoint}\n")
        print("\n".join(fan_out_table(rows)))
    rows = list(graphs(options.graphs))
    raw["graphs"] = msgspec.to_builtins(rows)
    latency, slowdown = GRAPH_ENDPOINT
    endpoint = f"latency {latency}, slowdown {slowdown}"
    missed += misses_of_graphs(endpoint, rows)
    print(f"\n### {options.graphs} random graphs of 10 to 200 calls, {endpoint}\n")
    print("\n".join(graph_table(rows)))
    return concluded(missed, raw, options.output)


if __name__ == "__main__":
    sys.exit(main())
