"""What would have helped: advice from the trace of one run, held against runs with the change made for real.

    python -m benchmarks.advice [--seeds 50] [-o FILE.json] > benchmarks/results/advice.md

Names every target that is missed, and then ends with status 1.

All of it is on virtual time, at simulated endpoints: so it shows what follows from a trace, and nothing of networks or
real engines. The explanation has the trace alone. It sees no setting of the endpoint, and knows none of its draws but
those that the run met.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from math import exp, log
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from apxm import api, ask, flow, pure
from apxm import each as each_of
from apxm.advice.advise import Advisor
from apxm.advice.changes import Change, Faster, Hedged, Limit, NoFailures, NoStragglers, NoTurn, OtherEndpoint, Readonly
from apxm.advice.graph import measured
from apxm.advice.measured import MeasuredRun
from apxm.backends.latency import Draws, LatencyModel, TokenLatency, parse_latency
from apxm.backends.protocol import BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest, Price
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.lanes.run import Grown, LaneRun
from apxm.program.program import Program
from apxm.reports.tables import markdown
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.tools.simulated import ToolLatencies
from apxm.tools.toolbox import SimulatedToolbox
from benchmarks.report import concluded

SEEDS, FIRST = 50, 1000
"""Cases of each kind: six hundred in all, as sixty leave three in a hundred to chance. Nothing was decided by these."""
PRICES = {"simulated": {"simulated": Price(1.0, 10.0)}, "other": {"simulated": Price(3.0, 30.0)}}
"""By backend."""
DRAWS = 5
"""Runs with a change: where something is left to chance, their mean counts."""
LAWS = 5
"""Explanations of a run that each range is made from."""
RIGHT, MEDIAN_ERROR = 0.95, 0.10
LEAST = 0.01
"""A change that moves a run by less than this part of it makes no difference."""


# --- endpoints -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Varied:
    """A latency, in which what begins with a text is twice as fast, and no straggler takes longer than it should."""

    of: LatencyModel
    faster: str = ""
    most_ns: int | None = None

    def latency_ns(self, draws: Draws, model: str, system: str | None, prompt: str) -> int:
        found = self.of.latency_ns(draws, model, system, prompt)
        found = found if self.most_ns is None else min(found, self.most_ns)
        return found // 2 if self.faster and prompt.startswith(self.faster) else found

    def __str__(self) -> str:
        return f"{self.of}, varied"


class FasterEngine(SimulatedBackend):
    """One whose answers take half of their tokens where the prompt begins with a text, and say as much all the same."""

    faster = ""

    def begin_sound(
        self,
        request: ModelRequest,
        clock: Clock,
        done: Callable[[ModelAnswer], None],
        *,
        tokens: int | None = None,
        told: Callable[[], None] | None = None,
    ) -> Handle:
        if self.counts_tokens and self.faster and request.prompt.startswith(self.faster):
            tokens = max(1, (self.answer(request, 0).usage.output_tokens or 0) // 2)
        return super().begin_sound(request, clock, done, tokens=tokens, told=told)


class Servers:
    """So many calls at a time, in the order of arrival: what a `SimulatedBackend` has in place of a processor that its
    calls share."""

    load = 0

    def __init__(self, count: int) -> None:
        self._free_at = [0] * count

    def begin(self, work_ns: int, clock: Clock, done: Callable[[int], None]) -> Handle:
        arrived = clock.now()
        end = max(arrived, self._free_at[0]) + work_ns
        heapreplace(self._free_at, end)
        return clock.call_at(end, lambda: done(end - arrived))


@dataclass(frozen=True)
class Setting:
    """An endpoint, before anything is changed."""

    name: str
    latency: str
    slowdown: str = "none"
    answers: str = ""
    """How long they are, where that matters."""
    servers: int | None = None
    faults: str = "none"

    def backend(
        self, seed: int, name: str = "simulated", faster: str = "", *, sound: bool = False, even: bool = False
    ) -> Any:
        latency: Any = parse_latency(",".join(filter(None, (self.latency, self.answers))))
        if not isinstance(latency, TokenLatency):
            latency = Varied(latency, faster, 2 * latency.median_ns if even else None)
        backend = FasterEngine(
            name=name,
            latency=latency,
            slowdown=self.slowdown,
            faults="none" if sound else self.faults,
            seed=seed,
            limits=Limits(prices=PRICES[name]),
        )
        backend.faster = faster
        if self.servers is not None:
            cast(Any, backend)._sharing = Servers(self.servers)
        return backend


def settings(random: Random) -> list[Setting]:
    """One of each kind."""
    ms = round(exp(random.uniform(log(300), log(3000))))
    step, decode = round(random.uniform(5, 20), 1), round(random.uniform(0.2, 2), 2)
    engine = f"tokens:fixed=5,step={step},prefill={random.uniform(0.02, 0.2):.3f},decode={decode}"
    answers = f"answer={random.randrange(60, 300)},answer_spread={random.choice((0, 0.4))}"
    return [
        Setting("constant", f"constant:{ms}"),
        Setting("varying", f"lognormal:{ms},{random.uniform(0.1, 0.5):.2f}"),
        Setting("mild", f"lognormal:{ms},{random.choice((0, 0.2))}", f"usl:{random.uniform(0.01, 0.1):.3f},0"),
        Setting(
            "retrograde", f"lognormal:{ms},{random.choice((0, 0.2))}", f"usl:0.02,{random.uniform(0.002, 0.01):.4f}"
        ),
        Setting("queue", f"lognormal:{ms},{random.choice((0, 0.3))}", servers=random.choice((3, 6, 12))),
        Setting("engine", f"{engine},spread={random.choice((0, 0.1))}", answers=answers),
        Setting("engine with slots", f"{engine},slots={random.choice((4, 8))}", answers=answers),
        Setting("stragglers", f"lognormal:{ms},{random.uniform(0.7, 1.0):.2f}"),
        Setting("hard limit", f"lognormal:{ms},0.2", faults=f"429:>{random.choice((6, 10, 16))}"),
        Setting("failing", f"lognormal:{ms},0.2", faults=f"500:{random.uniform(0.05, 0.2):.2f}"),
    ]


@dataclass
class Hedging:
    """A backend that asks a second time where the first answer is late, and takes whichever is there first."""

    of: SimulatedBackend
    after: int
    draw: int
    """Which draws the second calls get."""
    limits = Limits(prices=PRICES["simulated"])
    can_reason = False

    @property
    def info(self) -> BackendInfo:
        return self.of.info

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[[ModelAnswer | BackendError], None]) -> Handle:
        return _Hedged(self, request, clock, done)

    async def close(self) -> None:
        await self.of.close()


class _Hedged:
    def __init__(self, hedging: Hedging, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> None:
        self._done = done
        again = replace(request, prompt=request.prompt + " " * hedging.draw)
        self._handles = [hedging.of.begin(request, clock, self._over)]
        self._handles.append(
            clock.call_at(
                clock.now() + hedging.after, lambda: self._handles.append(hedging.of.begin(again, clock, self._over))
            )
        )

    def _over(self, outcome: ModelAnswer | BackendError) -> None:
        self.cancel()
        self._done(outcome)

    def cancel(self) -> None:
        for handle in self._handles:
            handle.cancel()


# --- programs --------------------------------------------------------------------------------------------------------

PADDING = "some words that make a prompt longer "


def source(random: Random, *, readonly: bool = False, other: str = "") -> str:
    """Calls one after the other, many at once, calls of a tool in between, and a call of all of them; `other` is the
    backend of the reviews."""
    words = [PADDING * random.randrange(1, 20) for _ in range(4)]
    by = f', backend: "{other}"' if other else ""
    tool = random.random() < 0.5
    looked = 'inv("fetch", x) -> found' if tool else 'let found = "nothing"'
    both = random.random() < 0.5
    side = (
        f'ask("Side {words[3]}", plan) -> side\n    ask("Further {words[3]}", side) -> further'
        if both
        else 'let further = "none"'
    )
    return f"""
agent Case {{
  capability fetch(q: str) -> str{" readonly" if readonly else ""}
  @entry flow main(items: list[str]) -> str {{
    ask("Plan {words[0]}") -> plan
    {side}
    for x in items {{
      {looked}
      ask(f"Draft {words[1]} {{x}}", plan) -> draft
      ask(f"Review {words[2]} {{x}}", draft, found{by}) -> review
      return review
    }} -> reviews
    return ask("Sum up", reviews, further)
  }}
}}
"""


FETCHING = """
agent Case {{
  capability fetch(q: str) -> str{readonly}
  @entry flow main(items: list[str]) -> str {{
    for x in items {{
      ask(f"Query {{x}}") -> query
      inv("fetch", query) -> found
      return ask(f"Draft {{x}}", found)
    }} -> drafts
    return ask("Sum up", drafts)
  }}
}}
"""


_COUNTED = {"drafts": 0}


def _counted(text: str) -> str:
    """Nobody sees from outside that the order of its calls does not matter: they wait for their turn."""
    _COUNTED["drafts"] = _COUNTED["drafts"] + 1
    return text if _COUNTED["drafts"] else ""


@pure
def _counted_in_any_order(text: str) -> str:
    _COUNTED["drafts"] = _COUNTED["drafts"] + 1
    return text if _COUNTED["drafts"] else ""


@flow
def in_turn(rows: list[str]) -> list[str]:
    reviews: list[str] = []
    for row in each_of(rows):
        draft = _counted(ask(f"Draft {row}"))
        reviews.append(ask(f"Review {row}", draft))
    return reviews


@flow
def at_once(rows: list[str]) -> list[str]:
    reviews: list[str] = []
    for row in each_of(rows):
        draft = _counted_in_any_order(ask(f"Draft {row}"))
        reviews.append(ask(f"Review {row}", draft))
    return reviews


# --- cases -----------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A run, and the same run with a change. Runs are given a number that draws what is left to chance besides the
    endpoint's own latencies: pauses, and what second calls take."""

    run: Callable[[int], Trace]
    change: Callable[[MeasuredRun, Trace], Change]
    changed: Callable[[Change, int], Trace]


class Row(Struct):
    change: str
    endpoint: str
    seed: int
    what: str
    operations: int
    duration_ms: float
    fits: bool
    is_sure: bool
    predicted_ms: float
    """The duration with the change, by the advice."""
    low_ms: float
    high_ms: float
    measured_ms: float
    predicted_cost: float | None
    """How much more it costs, by the advice."""
    measured_cost: float

    @property
    def error(self) -> float:
        return self.predicted_ms / self.measured_ms - 1

    @property
    def is_answered(self) -> bool:
        """Whether the advice says anything of the direction."""
        return self.fits and self.is_sure

    @property
    def is_right(self) -> bool:
        """Whether it has said in which."""
        return self.is_answered and self._direction(self.predicted_ms) == self._direction(self.measured_ms)

    @property
    def is_within(self) -> bool:
        """Whether the measured duration is in the range, or off it by less than what makes a difference."""
        least = LEAST * self.duration_ms
        return self.low_ms - least <= self.measured_ms <= self.high_ms + least

    def _direction(self, duration_ms: float) -> int:
        more = duration_ms - self.duration_ms
        return 0 if abs(more) <= LEAST * self.duration_ms else 1 if more > 0 else -1


def run_program(
    program: Program, items: int, backends: Sequence[Any], limit: int | None, tools: float = 400, seed: int = 0
) -> Trace:
    """`seed` draws the pauses between retries."""
    pool = BackendPool({backend.info.name: backend for backend in backends}, backends[0].info.name)
    inputs = ([f"item {k}" for k in range(items)],)
    toolbox = SimulatedToolbox(ToolLatencies(tools))
    options = RunOptions(max_concurrency=limit, seed=seed)
    return run_virtually(Run(LoadedProgram(program), program.flows[0], inputs, pool, options, toolbox).execute())


def run_flow(function: Any, rows: int, backend: Any, limit: int | None, seed: int = 0) -> Trace:
    async def go() -> Trace:
        def main() -> object:
            return function.lanes([f"row {k}" for k in range(rows)])

        pool = BackendPool({backend.info.name: backend}, backend.info.name)
        options = RunOptions(max_concurrency=limit, seed=seed)
        return await LaneRun(Grown("case", __file__), main, pool, options).execute()

    return run_virtually(go())


def place_of(run: MeasuredRun, end: str) -> int:
    return next(i for i, place in enumerate(run.places) if place.path.endswith(end))


def limit_case(setting: Setting, random: Random, seed: int) -> Case:
    program = api.compile_text(source(random))
    items, limit = random.randrange(20, 80), random.choice((4, 8, 16, 32))
    to = max(1, round(limit * random.choice((0.5, 2, 4))))

    def run(limit: int, draw: int) -> Trace:
        return run_program(program, items, [setting.backend(seed)], limit, seed=draw)

    return Case(lambda draw: run(limit, draw), lambda _run, _trace: Limit(None, to), lambda _, draw: run(to, draw))


def faster_case(setting: Setting, random: Random, seed: int) -> Case:
    program = api.compile_text(source(random))
    items, limit = random.randrange(10, 60), random.choice((4, 8, 16, None))
    name, begin = random.choice((("draft", "Draft"), ("review", "Review"), ("plan", "Plan")))

    def run(faster: str, draw: int) -> Trace:
        return run_program(program, items, [setting.backend(seed, faster=faster)], limit, seed=draw)

    return Case(
        lambda draw: run("", draw), lambda run, _: Faster(place_of(run, name)), lambda _, draw: run(begin, draw)
    )


def readonly_case(setting: Setting, random: Random, seed: int) -> Case:
    before, after = (api.compile_text(FETCHING.format(readonly=each)) for each in ("", " readonly"))
    items, limit = random.randrange(5, 40), random.choice((4, 16, None))
    tool = random.choice((50, 300, 1500))

    def run(program: Program, draw: int) -> Trace:
        return run_program(program, items, [setting.backend(seed)], limit, tool, seed=draw)

    return Case(
        lambda draw: run(before, draw),
        lambda run, _: Readonly("fetch", place_of(run, "found")),
        lambda _, draw: run(after, draw),
    )


def turn_case(setting: Setting, random: Random, seed: int) -> Case:
    rows, limit = random.randrange(5, 40), random.choice((4, 16, None))

    def run(function: Any, draw: int) -> Trace:
        return run_flow(function, rows, setting.backend(seed), limit, seed=draw)

    return Case(
        lambda draw: run(in_turn, draw),
        lambda run, _: NoTurn(max(node.place for node in run.nodes if node.ordered)),
        lambda _, draw: run(at_once, draw),
    )


def model_case(setting: Setting, random: Random, seed: int) -> Case:
    written = random.randrange(1 << 30)
    before, after = (api.compile_text(source(Random(written), other=each)) for each in ("other", ""))
    items, limit = random.randrange(10, 60), random.choice((4, 8, 16, None))
    others = [each for each in settings(random)[:7] if bool(each.answers) == bool(setting.answers)]
    # The same answers: it is their time that is looked at.
    other = dataclasses.replace(random.choice(others), answers=setting.answers)

    def run(program: Program, draw: int) -> Trace:
        backends = [setting.backend(seed), other.backend(seed, "other")]
        return run_program(program, items, backends, limit, seed=draw)

    return Case(
        lambda draw: run(before, draw),
        lambda run, _: OtherEndpoint(place_of(run, "review"), 0),
        lambda _, draw: run(after, draw),
    )


def hedging_case(setting: Setting, random: Random, seed: int) -> Case:
    program = api.compile_text(source(random))
    items, limit = random.randrange(20, 60), random.choice((8, 16, None))

    def change(_run: MeasuredRun, trace: Trace) -> Change:
        latencies = sorted(each.attempts[-1].latency for each in trace.operations if each.backend == "simulated")
        return Hedged(0, latencies[int(0.95 * (len(latencies) - 1))])

    def changed(change: Change, draw: int) -> Trace:
        assert isinstance(change, Hedged)
        return run_program(program, items, [Hedging(setting.backend(seed), change.after, draw)], limit)

    return Case(lambda draw: run_program(program, items, [setting.backend(seed)], limit, seed=draw), change, changed)


def straggler_case(setting: Setting, random: Random, seed: int) -> Case:
    program = api.compile_text(source(random))
    items, limit = random.randrange(20, 60), random.choice((8, 16, None))

    def run(draw: int, *, even: bool) -> Trace:
        return run_program(program, items, [setting.backend(seed, even=even)], limit, seed=draw)

    return Case(
        lambda draw: run(draw, even=False), lambda _run, _trace: NoStragglers(0), lambda _, draw: run(draw, even=True)
    )


def retry_case(setting: Setting, random: Random, seed: int) -> Case:
    program = api.compile_text(source(random))
    items, limit = random.randrange(20, 60), random.choice((8, 16, 32))

    def run(draw: int, *, sound: bool) -> Trace:
        return run_program(program, items, [setting.backend(seed, sound=sound)], limit, seed=draw)

    return Case(
        lambda draw: run(draw, sound=False), lambda _run, _trace: NoFailures(0), lambda _, draw: run(draw, sound=True)
    )


KINDS: dict[str, tuple[Callable[[Setting, Random, int], Case], tuple[str, ...]]] = {
    "limit": (limit_case, ("constant", "varying", "mild", "retrograde", "hard limit")),
    "limit, queue": (limit_case, ("queue", "engine", "engine with slots", "queue", "engine with slots")),
    "limit, shared": (limit_case, ("mild", "engine", "retrograde", "varying", "stragglers")),
    "readonly": (readonly_case, ("constant", "varying", "mild", "queue", "engine")),
    "turn": (turn_case, ("constant", "varying", "mild", "queue", "engine")),
    "twice as fast": (faster_case, ("varying", "mild", "retrograde", "queue", "engine")),
    "twice as fast, further": (faster_case, ("constant", "engine with slots", "stragglers", "failing", "hard limit")),
    "another model": (model_case, ("constant", "varying", "mild", "queue", "engine")),
    "hedging": (hedging_case, ("stragglers", "varying", "stragglers", "mild", "stragglers")),
    "no stragglers": (straggler_case, ("stragglers", "varying", "stragglers", "stragglers", "stragglers")),
    "no failures": (retry_case, ("failing", "hard limit", "failing", "hard limit", "failing")),
    "turn, limited": (turn_case, ("engine with slots", "retrograde", "stragglers", "hard limit", "failing")),
}


def row(kind: str, seed: int) -> Row:
    make, endpoints = KINDS[kind]
    random = Random(f"{kind} {seed}")
    name = endpoints[seed % len(endpoints)]
    setting = next(each for each in settings(random) if each.name == name)
    case = make(setting, random, seed)
    trace = case.run(0)
    run = measured(trace)
    advisor = Advisor(run)
    change = case.change(run, trace)
    found = advisor.gain(change, LAWS)
    real = [case.changed(change, draw) for draw in range(1, 1 + DRAWS)]
    duration = run.duration / 1e6
    return Row(
        change=kind.partition(",")[0],
        endpoint=name,
        seed=seed,
        what=change.title(run),
        operations=len(trace.operations),
        duration_ms=duration,
        fits=advisor.fits,
        is_sure=found.is_sure,
        predicted_ms=duration - found.ms,
        low_ms=duration - found.high_ms,
        high_ms=duration - found.low_ms,
        measured_ms=fmean(each.duration for each in real) / 1e6,
        predicted_cost=found.cost,
        measured_cost=fmean(each.cost or 0.0 for each in real) - (trace.cost or 0.0),
    )


def rows(seeds: Sequence[int], kinds: Sequence[str] = tuple(KINDS)) -> list[Row]:
    return [row(kind, seed) for kind in kinds for seed in seeds]


def misses(found: Sequence[Row]) -> list[str]:
    right, error = _right(found), median(abs(each.error) for each in found)
    missed: list[str] = []
    if right < RIGHT:
        missed.append(f"the direction is right in {right:.0%} of all cases, target {RIGHT:.0%}")
    if error > MEDIAN_ERROR:
        missed.append(f"median error {error:.1%}, allowed {MEDIAN_ERROR:.0%}")
    return missed


def _right(found: Sequence[Row]) -> float:
    """The part whose direction was told, and told rightly."""
    return sum(each.is_right for each in found) / len(found)


def table(found: Sequence[Row], by: str) -> list[str]:
    """A line for each kind of change, or each endpoint."""
    groups: dict[str, list[Row]] = {}
    for each in found:
        groups.setdefault(getattr(each, by), []).append(each)
    body: list[list[str]] = []
    for name, group in {**groups, "all": list(found)}.items():
        errors = sorted(abs(each.error) for each in group)
        body.append(
            [
                name,
                str(len(group)),
                f"{sum(each.is_right for each in group)}",
                f"{sum(not each.is_answered for each in group)}",
                f"{median(errors):.1%}",
                f"{errors[min(len(errors) - 1, int(0.9 * len(errors)))]:.1%}",
                f"{sum(each.is_within for each in group)}",
            ]
        )
    heads = [by, "cases", "right direction", "not told", "median error", "90%", "within the range"]
    return markdown(heads, body)


def costs(found: Sequence[Row]) -> str:
    """How well money is told, where it changes."""
    known = [each for each in found if each.predicted_cost is not None and each.change != "hedging"]
    changed = [each for each in known if abs(each.measured_cost) > 1e-12]
    off = [abs(each.predicted_cost or 0.0) / abs(each.measured_cost) - 1 for each in changed]
    same = sum(abs(each.predicted_cost or 0.0) < 1e-12 for each in known if each not in changed)
    worst = max(map(abs, off), default=0.0)
    return (
        f"Money changed in {len(changed)} cases, and was told {worst:.1%} off at most; it stayed in "
        f"{len(known) - len(changed)}, of which {same} were told so."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="write the rows here, as JSON")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"cases of each kind (default {SEEDS})")
    parser.add_argument("--first", type=int, default=FIRST, help=f"the first of them (default {FIRST})")
    options = parser.parse_args()
    logging.getLogger("apxm").setLevel(logging.ERROR)  # that turns are kept in order is meant so
    found = rows(range(options.first, options.first + options.seeds))
    print(
        f"{len(found)} cases on virtual time: a run at a simulated endpoint, advice from its trace alone, and the same "
        f"run with the change made, {DRAWS} times where chance has a part in it. Errors are of its duration.\n"
    )
    print("\n".join([*table(found, "change"), "", *table(found, "endpoint"), "", costs(found)]))
    print("\n### Wrong, or not told\n")
    for each in found:
        if not each.is_right:
            said = f"{each.predicted_ms:,.0f} ms ({each.low_ms:,.0f} to {each.high_ms:,.0f})"
            print(f"- {each.what}, {each.endpoint}: {each.duration_ms:,.0f} ms, advised {said}, measured", end=" ")
            print(f"{each.measured_ms:,.0f} ms{'' if each.is_answered else ': not told'}")
    return concluded(misses(found), {"rows": msgspec.to_builtins(found)}, options.output)


if __name__ == "__main__":
    sys.exit(main())
