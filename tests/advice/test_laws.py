"""What a run shows of its endpoint: the law it was made by is a likely one, and what it cannot show is open."""

from __future__ import annotations

from math import log
from typing import Any

import pytest

from apxm import api
from apxm.advice.expected import Kind, expected
from apxm.advice.graph import measured
from apxm.advice.laws import Law, Timeline, law, plausible, seen_at
from apxm.backends.simulated import SimulatedBackend
from apxm.backends.slowdown import parse_slowdown
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from tests.advice.test_rerun import ran
from tests.analysis.endpoints import queue

STAGES = """
agent A { @entry flow f(items: list[str]) -> str {
  ask("Plan") -> plan
  for x in items { ask(f"Draft {x}", plan) -> draft return ask(f"Review {x}", draft) } -> reviews
  ask("Sum up", reviews) -> sum
  return ask("Check", sum)
} }
"""


def staged(count: int, limit: int | None, **endpoint: Any) -> Trace:
    return ran(api.compile_text(STAGES), limit, ([f"item {k}" for k in range(count)],), **endpoint)


def throughputs(trace: Trace, calls: int) -> list[tuple[float, float]]:
    """What the likely laws say of so many calls at once, the slowest first, and how likely each is."""
    found = plausible(seen_at(measured(trace), 0))
    return sorted((each.law.throughput(calls), each.weight) for each in found)


def middle(weighed: list[tuple[float, float]]) -> float:
    total = 0.0
    for each, weight in weighed:
        total += weight
        if total >= 0.5:
            return each
    raise AssertionError("the weights are no probabilities")


@pytest.mark.parametrize("slowdown", ["none", "usl:0.02,0", "usl:0.1,0", "usl:0.4,0"])
def test_how_much_calls_slow_each_other_down_is_seen_where_they_do_not_vary(slowdown: str) -> None:
    real = Law(None, parse_slowdown(slowdown)).throughput(16)
    found = throughputs(staged(40, 16, latency="constant:800", slowdown=slowdown), 16)
    assert middle(found) == pytest.approx(real, rel=0.01)
    assert found[0][0] > 0.97 * real


@pytest.mark.parametrize("seed", range(4))
def test_where_they_vary_the_truth_is_among_what_is_likely(seed: int) -> None:
    real = Law(None, parse_slowdown("usl:0.06,0")).throughput(16)
    found = throughputs(staged(40, 16, latency="lognormal:800,0.3", slowdown="usl:0.06,0", seed=seed), 16)
    assert found[0][0] < real < found[-1][0]


def test_a_load_that_a_run_never_had_is_open() -> None:
    trace = staged(40, 8, latency="constant:800", slowdown="usl:0.05,0")
    seen, unseen = throughputs(trace, 8), throughputs(trace, 64)
    assert seen[0][0] > 0.97 * seen[-1][0]
    assert unseen[0][0] < 0.5 * unseen[-1][0]


@pytest.mark.parametrize("servers", [1, 3, 6])
def test_a_queue_is_told_from_a_processor_that_is_shared(servers: int) -> None:
    program = api.compile_text(STAGES)
    backend: SimulatedBackend = queue("lognormal:400,0.1", servers, 1)
    pool = BackendPool({"simulated": backend}, "simulated")
    items = ([f"item {k}" for k in range(30)],)
    run = Run(LoadedProgram(program), program.flows[0], items, pool, RunOptions(max_concurrency=20))
    found = plausible(seen_at(measured(run_virtually(run.execute())), 0))
    assert sum(each.weight for each in found if each.law.slots == servers) > 0.9


def test_an_engine_serves_as_many_as_it_has_slots() -> None:
    latency = "tokens:fixed=5,step=12,prefill=0.05,decode=0.5,slots=4,answer=60,answer_spread=0.4"
    found = plausible(seen_at(measured(staged(30, 16, latency=latency)), 0))
    assert sum(each.weight for each in found if each.law.slots == 4) > 0.9


def test_every_law_gives_the_time_in_service_back() -> None:
    calls = seen_at(measured(staged(12, 5, latency="lognormal:500,0.4", slowdown="usl:0.1,0.01")), 0)
    alone = Timeline(calls, None).works(law(None, 0, 0).factor)
    assert alone == pytest.approx([call.over - call.sent for call in calls])
    shared = Timeline(calls, None).works(law(None, 1, 0).factor)
    assert sum(shared) == pytest.approx(calls[-1].over - calls[0].sent, rel=0.01), "one after the other, as s(c) is c"


def test_one_call_shows_nothing() -> None:
    found = plausible(
        seen_at(measured(ran(api.compile_text('agent A { @entry flow f() -> str { return ask("x") } }'))), 0)
    )
    assert [each.law for each in found] == [law(None, 0, 0)]


# --- what is expected ------------------------------------------------------------------------------------------------


def test_calls_of_a_place_are_expected_to_be_alike_and_a_single_one_is_like_the_others() -> None:
    calls = [Kind(0, None)] * 20 + [Kind(1, None)] * 20 + [Kind(2, None)]
    logs = [1.0 + 0.1 * (i % 3) for i in range(20)] + [1.1 + 0.1 * (i % 3) for i in range(20)] + [4.0]
    of = expected(calls, logs)
    assert of(Kind(0, None)) == pytest.approx(1.1, abs=0.03)
    assert of(Kind(1, None)) == pytest.approx(1.2, abs=0.03)
    assert of(Kind(2, None)) > 3.5, "places differ widely, as this one shows"
    near = [*logs[:-1], 1.9]
    assert expected(calls, near)(Kind(2, None)) < 1.9


def test_tokens_explain_what_they_explain() -> None:
    tokens = [(100 + 40 * i, 20 + 13 * i % 90) for i in range(30)]
    calls = [Kind(i % 3, each) for i, each in enumerate(tokens)]
    logs = [log(50 + 0.2 * prompt + 10 * answer) for prompt, answer in tokens]
    of = expected(calls, logs)
    assert of(Kind(0, (500, 500))) == pytest.approx(log(50 + 100 + 5000), abs=0.01)


def test_prompts_that_are_all_as_long_say_nothing() -> None:
    calls = [Kind(0, (100, 10 * answer)) for answer in range(1, 20)]
    of = expected(calls, [log(300 + 5 * 10 * answer) for answer in range(1, 20)])
    assert of(Kind(0, (100, 400))) == pytest.approx(log(300 + 2000), abs=0.01)
