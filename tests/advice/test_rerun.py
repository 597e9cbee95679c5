"""A run that was measured runs again: with nothing changed every operation is ready, sent and answered when it was."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apxm import api, ask, each, flow
from apxm.advice.advise import Advisor
from apxm.advice.changes import Faster
from apxm.advice.graph import measured
from apxm.advice.known import Known
from apxm.advice.laws import Law, law
from apxm.advice.measured import JOIN
from apxm.advice.rerun import rerun
from apxm.backends.protocol import Limits
from apxm.backends.simulated import SimulatedBackend
from apxm.lanes.run import Grown, LaneRun
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.tools.simulated import ToolLatencies
from apxm.tools.toolbox import SimulatedToolbox
from tests.analysis.endpoints import queue
from tests.random_plans import random_program

ENDPOINTS: list[dict[str, Any]] = [
    {"latency": "constant:700"},
    {"latency": "lognormal:500,0.6"},
    {"latency": "lognormal:500,0.3", "slowdown": "usl:0.05,0.002"},
    {"latency": "tokens:fixed=5,step=12,prefill=0.2,decode=0.5,slots=4,answer=40,answer_spread=0.5"},
    {"latency": "lognormal:500,0.3", "faults": "500:0.2"},
    {"latency": "lognormal:500,0.3", "faults": "429:>3"},
    {"latency": "constant:300", "limits": Limits(max_concurrency=3)},
    {"latency": "constant:300", "limits": Limits(requests_per_minute=40)},
]
WITHOUT_SLOTS = [law(None, 0, 0), law(None, 0.1, 0.001), law(None, 0, 0.01)]
LOOP = """
agent A {
  capability fetch(q: str) -> str
  @entry flow f(items: list[str]) -> str {
    ask("Plan") -> plan
    ask("Beside") -> beside
    for x in items {
      ask(f"Draft {x}", plan) -> draft
      inv("fetch", draft) -> found
      return ask(f"Review {x}", found)
    } -> reviews
    if beside == "" { ask("Never") -> never }
    return ask("Sum up", reviews, beside)
  }
}
"""
WIDE = """
agent A { @entry flow f(items: list[str]) -> list[str] { for x in items { return ask(f"Do {x}") } -> y return y } }
"""
ITEMS = ([f"item {k}" for k in range(12)],)
COUNTED = {"rows": 0}


def counted(text: str) -> str:
    """Waits for its turn, as anybody could see the order of its calls."""
    COUNTED["rows"] = COUNTED["rows"] + 1
    return text if COUNTED["rows"] else ""


@flow
def in_turn(rows: list[str]) -> list[str]:
    reviews: list[str] = []
    for row in each(rows):
        draft = counted(ask(f"Draft {row}"))
        reviews.append(ask(f"Review {row}", draft))
    return [ask("Sum up", reviews)]


def ran(
    program: Program, limit: int | None = None, arguments: tuple[Any, ...] = (), seed: int = 0, **endpoint: Any
) -> Trace:
    backend = SimulatedBackend(seed=seed, **endpoint)
    pool = BackendPool({backend.info.name: backend}, backend.info.name)
    tools = SimulatedToolbox(ToolLatencies(250))
    options = RunOptions(max_concurrency=limit)
    return run_virtually(Run(LoadedProgram(program), program.flows[0], arguments, pool, options, tools).execute())


def flowed(function: Any, *arguments: Any, limit: int | None = None, **endpoint: Any) -> Trace:
    """A flow of Python, on virtual time."""
    backend = SimulatedBackend(**endpoint)
    pool = BackendPool({backend.info.name: backend}, backend.info.name)

    def main() -> object:
        return function.lanes(*arguments)

    async def go() -> Trace:
        return await LaneRun(Grown("f", "f.py"), main, pool, RunOptions(max_concurrency=limit)).execute()

    return run_virtually(go())


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    endpoint=st.sampled_from(ENDPOINTS[:5] + ENDPOINTS[6:]),
    limit=st.sampled_from([None, 1, 2, 5]),
    taken=st.sampled_from(WITHOUT_SLOTS),
)
def test_random_programs_take_as_long_again_by_any_law(
    seed: int, endpoint: dict[str, Any], limit: int | None, taken: Law
) -> None:
    trace = ran(random_program(Random(seed)), limit, seed=seed, **endpoint)
    found = rerun(Known(measured(trace), [taken], {}).scenario()).duration
    assert found == pytest.approx(trace.duration, rel=1e-6, abs=1000)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: " ".join(map(str, endpoint.values()))[:40])
@pytest.mark.parametrize("limit", [None, 4])
def test_a_loop_with_a_tool_takes_as_long_again(endpoint: dict[str, Any], limit: int | None) -> None:
    trace = ran(api.compile_text(LOOP), limit, ITEMS, **endpoint)
    assert Advisor(measured(trace)).rerun == pytest.approx(trace.duration, rel=1e-6)


@pytest.mark.parametrize("endpoint", ENDPOINTS[:6], ids=lambda endpoint: " ".join(map(str, endpoint.values()))[:40])
def test_lanes_that_take_turns_take_as_long_again(endpoint: dict[str, Any]) -> None:
    trace = flowed(in_turn, *ITEMS, limit=5, **endpoint)
    assert Advisor(measured(trace)).rerun == pytest.approx(trace.duration, rel=1e-6)


def test_what_waits_only_for_order_is_told_from_what_needs_a_value() -> None:
    run = measured(ran(api.compile_text(LOOP), None, ITEMS, latency="constant:100"))
    of = {run.places[node.place].path.rpartition("/")[2]: node for node in run.nodes if node.place != JOIN}
    assert (of["found"].ordered != (), of["draft"].ordered, of["ask#1"].ordered) == (True, (), ())
    lanes = measured(flowed(in_turn, *ITEMS, latency="constant:100"))
    ordered = {lanes.places[node.place].line for node in lanes.nodes if node.ordered}
    lines = {lanes.places[node.place].line for node in lanes.nodes if node.place != JOIN}
    assert len(ordered) == 1, "the review alone comes behind a turn"
    assert len(lines) == 3


def test_a_row_whose_turn_had_come_already_comes_behind_the_earlier_ones_all_the_same() -> None:
    trace = flowed(in_turn, ["a", "b"], latency="trace:100,2000,100")
    run = measured(trace)
    (review,) = [node for node in run.nodes if node.ordered]
    assert review.ready == 2_000_000_000
    assert [run.nodes[other].routed for other in review.ordered] == [200_000_000]


@flow
def resting(rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in each(rows):
        draft = ask(f"Draft {row}")
        time.sleep(1)
        found.append(ask(f"Review {row}", draft))
    return found


def test_who_waits_for_code_of_its_own_holds_no_slot() -> None:
    trace = flowed(resting, ["a", "b"], limit=1, latency="constant:500")
    assert trace.duration == 2_500_000_000, "the second draft is made while the first row rests"
    assert Advisor(measured(trace)).rerun == trace.duration


def test_calls_wait_for_a_slot_of_the_endpoint_in_the_order_in_which_they_came() -> None:
    program = api.compile_text(WIDE)
    pool = BackendPool({"simulated": queue("lognormal:500,0.3", 3, 0)}, "simulated")
    trace = run_virtually(Run(LoadedProgram(program), program.flows[0], ITEMS, pool).execute())
    run = measured(trace)
    assert rerun(Known(run, [law(3, 0, 0)], {}).scenario()).duration == pytest.approx(trace.duration, rel=1e-6)
    nine = Known(run, [law(3, 0, 0)], {}).scenario()
    more = rerun(replace(nine, laws=[law(9, 0, 0)])).duration
    assert more < 0.7 * trace.duration, "works are those of a queue, so more servers are quicker"


def test_an_endpoint_of_which_nobody_said_what_it_bears_is_asked_by_few_at_first() -> None:
    trace = ran(api.compile_text(WIDE), None, ([f"{k}" for k in range(1200)],), latency="constant:100")
    scenario = Known(measured(trace), [law(None, 0, 0)], {}).scenario()
    adaptive = [replace(each, is_adaptive=True) for each in scenario.run.endpoints]
    found = rerun(replace(scenario, run=replace(scenario.run, endpoints=tuple(adaptive))))
    assert found.most[0] < 1200
    assert found.duration > trace.duration


def test_our_own_code_in_front_of_who_gets_a_slot_that_was_given_back_passes_again() -> None:
    def work(_line: str) -> None:
        cast(Any, asyncio.get_running_loop())._now += 40_000_000

    text = 'agent A { @entry flow f() -> str { ask("a") -> a print(a) ask("b") -> b ask("c") -> c return a + b + c } }'
    program = api.compile_text(text)
    pool = BackendPool({"simulated": SimulatedBackend(latency="constant:100")}, "simulated")
    options = RunOptions(output=work, max_concurrency=1)
    trace = run_virtually(Run(LoadedProgram(program), program.flows[0], (), pool, options).execute())
    assert trace.duration == 340_000_000
    assert Advisor(measured(trace)).rerun == trace.duration


def test_another_process_goes_on_when_all_of_the_one_before_is_over() -> None:
    trace = ran(api.compile_text(WIDE), None, (["a", "b"],), latency="constant:1000")
    raw, by = trace.raw[1], 2_000_000_000
    instants = [each + by for each in raw[6:10]]
    trace.raw[1] = cast(Any, (*raw[:3], raw[3] + by, raw[4] + by, (), *instants, *raw[10:]))
    trace.ended = 3_000_000_000
    run = measured(trace, [1_500_000_000])
    known = Known(run, [law(None, 0, 0)], {})
    assert rerun(known.scenario()).duration == 3_000_000_000
    assert rerun(Faster(0).made(known, known.scenario())).duration == 2_000_000_000, "it went on after a second"


def test_code_between_calls_and_behind_the_last_one_passes_again() -> None:
    def work(_line: str) -> None:
        cast(Any, asyncio.get_running_loop())._now += 40_000_000

    text = 'agent A { @entry flow f() -> str { ask("a") -> a print(a) ask("b", a) -> b print(b) return b } }'
    program = api.compile_text(text)
    backend = SimulatedBackend(latency="constant:100")
    pool = BackendPool({"simulated": backend}, "simulated")
    run = Run(LoadedProgram(program), program.flows[0], (), pool, RunOptions(output=work))
    trace = run_virtually(run.execute())
    assert trace.duration == 280_000_000
    assert Advisor(measured(trace)).rerun == trace.duration
