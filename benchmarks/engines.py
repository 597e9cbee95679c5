"""Random programs on engines whose calls cost tokens: predicted from a calibration that saw none of them, and measured.

    python -m benchmarks.engines [--programs 200] [-o benchmarks/results/engines.json] > benchmarks/results/engines.md

Names every target that is missed, and then ends with status 1.

All of it is on virtual time: the engines are simulated, and the scheduler, the calibration and the predictor are the
real ones. So it shows what calibration and prediction get wrong where an engine is of the kind that they take it for,
and nothing of a network or of a real engine. Each program is measured once: what one run takes is to be predicted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from math import exp, log
from pathlib import Path
from random import Random
from statistics import median

import msgspec
from msgspec import Struct

from apxm.analysis.calibrate_engine import calibrate_engine
from apxm.analysis.predict import predict
from apxm.analysis.profile import Profile
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, SimulatedBackend
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

ENGINES = {
    "constant": "fixed=5,step=12,prefill=0.2,decode=0.5",
    "log-normal": "fixed=5,step=12,prefill=0.2,decode=0.5,spread=0.2",
    "4 slots": "fixed=8,step=20,prefill=0.1,decode=2,slots=4,spread=0.1",
    "8 slots": "fixed=3,step=6,prefill=0.05,decode=0.4,slots=8,spread=0.2",
    "chunked prefill": "fixed=5,step=10,prefill=0.08,decode=0.6,slots=8,chunk=512,spread=0.1",
    "prefix cache": "fixed=5,step=10,prefill=0.15,decode=0.5,slots=8,chunk=512,cache,spread=0.1",
}
PROMPTS, ANSWERS = (20, 8000), (5, 800)
"""Tokens; short ones are as frequent as long ones on a scale of powers."""
LIMITS = (1, 4, 16, None)
MEDIAN_ERROR, ERROR_95 = 0.05, 0.15
COVERED = (0.75, 0.85)
RUNS = 39
"""Behind a prediction: between the fourth and the thirty-sixth of them lie four of five."""
PER_CALIBRATION = 9
"""Programs that are predicted from one calibration: what it gets wrong all of them do, so a few have to be seen."""
MEASURED_SEED, PREDICTED_SEED = 2, 3


class Row(Struct):
    engine: str
    program: int
    calls: int
    limit: int | None
    predicted_ms: float
    low_ms: float
    high_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        return self.predicted_ms / self.measured_ms - 1

    @property
    def covered(self) -> bool:
        return self.low_ms <= self.measured_ms <= self.high_ms


def random_program(random: Random) -> Program:
    """Calls that use up to two answers of the six before them; each third prompt begins as another one."""
    nodes: list[Operate] = []
    prefixes = [_words(random, _drawn(random, PROMPTS) // 2) for _ in range(2)]
    for i in range(random.randrange(2, 25)):
        recent = range(max(0, i - 6), i)
        operands = tuple(sorted(random.sample(recent, min(len(recent), random.choice((0, 0, 0, 1, 2))))))
        prompt = f"Step {i}: {_words(random, _drawn(random, PROMPTS))}"
        if random.random() < 1 / 3:
            prompt = f"{random.choice(prefixes)} {prompt}"[: CHARACTERS_PER_TOKEN * PROMPTS[1]]
        context = tuple(Operand(k) for k in range(len(operands)))
        limit = {"max_tokens": Literal(_drawn(random, ANSWERS))}
        nodes.append(
            Operate(
                operation="ask", operands=operands, arguments=(Literal(prompt), *context), options=limit, result="str"
            )
        )
    names = tuple(NodeName(path=f"step{i}") for i in range(len(nodes)))
    return Program(
        plans=(Plan(nodes=tuple(nodes), inputs=0, outputs=()),),
        flows=(Flow(agent="Random", name="program", parameters=(), result=None, plan=0),),
        entry=0,
        optimization_level=0,
        names=Names(file="random", plans=(PlanNames(path="Random.program", nodes=names),)),
    )


def _drawn(random: Random, between: tuple[int, int]) -> int:
    low, high = between
    return round(exp(random.uniform(log(low), log(high))))


def _words(random: Random, tokens: int) -> str:
    length = CHARACTERS_PER_TOKEN * tokens
    return (f"{random.random()} " + "word after word " * (length // 16 + 1))[:length]


@cache
def calibrated(engine: str, seed: int) -> Profile:
    backend = SimulatedBackend(latency=_latency(engine), seed=seed)
    return run_virtually(calibrate_engine(backend, date=""))


def _latency(engine: str) -> str:
    """Answers end where `max_tokens` says."""
    return f"tokens:{ENGINES[engine]},answer=1000"


def row(engine: str, profile: Profile, number: int) -> Row:
    random = Random(number)
    program, limit = random_program(random), random.choice(LIMITS)
    flow = program.flows[0]
    found = predict(program, flow, (), profile, limit, RUNS, PREDICTED_SEED)
    backend = SimulatedBackend(latency=_latency(engine), seed=MEASURED_SEED + number)
    pool = BackendPool({backend.info.name: backend}, backend.info.name)
    trace = run_virtually(Run(LoadedProgram(program), flow, (), pool, RunOptions(max_concurrency=limit)).execute())
    return Row(
        engine=engine,
        program=number,
        calls=len(program.plans[0].nodes),
        limit=limit,
        predicted_ms=found.mean_ms,
        low_ms=found.interval80_ms[0],
        high_ms=found.interval80_ms[1],
        measured_ms=trace.duration / 1e6,
    )


def rows(programs: int, engines: Sequence[str] = tuple(ENGINES)) -> list[Row]:
    """The programs one after the other over the engines."""
    found: list[Row] = []
    for number in range(programs):
        engine = engines[number % len(engines)]
        seed = number // len(engines) // PER_CALIBRATION
        found.append(row(engine, calibrated(engine, seed), number))
    return found


def misses(found: Sequence[Row]) -> list[str]:
    middle, high = _errors(found)
    covered = _covered(found)
    missed: list[str] = []
    if middle > MEDIAN_ERROR:
        missed.append(f"median error {middle:.1%}, allowed {MEDIAN_ERROR:.0%}")
    if high > ERROR_95:
        missed.append(f"95th percentile {high:.1%}, allowed {ERROR_95:.0%}")
    if not COVERED[0] <= covered <= COVERED[1]:
        missed.append(f"{covered:.0%} within the interval of 80%, expected {COVERED[0]:.0%} to {COVERED[1]:.0%}")
    return missed


def _errors(found: Sequence[Row]) -> tuple[float, float]:
    """The median, and the 95th percentile."""
    errors = sorted(abs(row.error) for row in found)
    return median(errors), errors[min(len(errors) - 1, int(0.95 * len(errors)))]


def _covered(found: Sequence[Row]) -> float:
    return sum(row.covered for row in found) / len(found)


def table(found: Sequence[Row]) -> list[str]:
    groups = {engine: [row for row in found if row.engine == engine] for engine in ENGINES} | {"all": list(found)}
    body: list[list[str]] = []
    for name, group in groups.items():
        if group:
            middle, high = _errors(group)
            bias, worst = median(row.error for row in group), max((row.error for row in group), key=abs)
            cells = (f"{middle:.1%}", f"{high:.1%}", f"{worst:+.1%}", f"{bias:+.1%}", f"{_covered(group):.0%}")
            body.append([name, str(len(group)), *cells])
    return markdown(["engine", "programs", "median error", "95%", "worst", "bias", "within 80%"], body)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="write the rows here, as JSON")
    parser.add_argument("--programs", type=int, default=200)
    options = parser.parse_args()
    found = rows(options.programs)
    print(
        f"{len(found)} random programs of 2 to 24 calls on simulated engines, on virtual time: prompts of 20 to 8,000"
    )
    print("tokens, answers of 5 to 800, at most 1, 4, 16 or all calls at once. Each measured once.\n")
    for name, costs in ENGINES.items():
        print(f"- {name}: `tokens:{costs}`")
    print("\n" + "\n".join(table(found)))
    return concluded(misses(found), {"rows": msgspec.to_builtins(found)}, options.output)


if __name__ == "__main__":
    sys.exit(main())
