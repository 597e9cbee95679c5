"""What would have helped, in runs of which everybody can see it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from apxm import api
from apxm.advice.advise import Advice, Gain, advise
from apxm.advice.graph import measured
from apxm.advice.laws import law, law_of
from apxm.backends.protocol import Limits, Price
from apxm.backends.simulated import SimulatedBackend
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from tests.advice.test_rerun import COUNTED, WIDE, flowed, in_turn, ran
from tests.analysis.endpoints import profile

PRICES = {"simulated": Price(input=1.0, output=10.0)}
FETCHING = """
agent A {
  capability fetch(q: str) -> str
  capability store(q: str) -> str
  @entry flow f(items: list[str]) -> list[str] {
    for x in items {
      inv("fetch", x) -> found
      return ask(f"Do {x}", found)
    } -> done
    return done
  }
}
"""


ALONE = {"simulated": law(None, 0, 0)}
"""An endpoint at which nobody holds up anybody."""


def alone(trace: Trace) -> Advice:
    return advise(measured(trace), ALONE)


def items(count: int) -> tuple[list[str]]:
    return ([f"item {k}" for k in range(count)],)


def wide(count: int, limit: int | None = None, **endpoint: Any) -> Trace:
    return ran(api.compile_text(WIDE), limit, items(count), **endpoint)


def of_kind(found: Advice, kind: str, change: str = "") -> Gain:
    (gain,) = [each for each in (*found.gains, *found.unsure) if each.kind == kind and change in each.change]
    return gain


def kinds(found: Advice) -> set[str]:
    return {each.kind for each in found.gains}


def test_a_higher_limit_gains_something_or_nothing_as_nobody_has_seen_it() -> None:
    trace = wide(16, 4, latency="constant:1000")
    gain = of_kind(alone(trace), "limit")
    assert (gain.change, gain.where) == ("limit 4 → 16", "max_concurrency")
    assert (gain.ms, gain.low_ms, gain.high_ms, gain.unseen, gain.percent) == (3000, 3000, 3000, None, 75)
    unknown = of_kind(advise(measured(trace)), "limit", "16")
    assert (unknown.low_ms, unknown.high_ms, unknown.unseen, unknown.is_sure) == (0, 3000, 4, True)


def test_nobody_knows_whether_an_endpoint_serves_more_at_once_than_it_had_to() -> None:
    text = WIDE.replace("return y", 'ask("Sum up", y) -> sum return [sum]')
    trace = ran(api.compile_text(text), 4, items(20), latency="constant:1000")
    gain = of_kind(advise(measured(trace)), "limit")
    assert (gain.ms, gain.low_ms, gain.unseen) == (pytest.approx(3000, rel=0.02), 0, 4)


def test_the_limit_of_a_backend_is_told_by_its_setting() -> None:
    trace = wide(16, latency="constant:1000", limits=Limits(max_concurrency=4))
    gain = of_kind(alone(trace), "limit")
    assert (gain.change, gain.where, gain.ms) == ("limit 4 → 16", "backends.simulated.max_concurrency", 3000)


def test_a_lower_limit_gains_where_an_endpoint_does_more_with_less_to_do() -> None:
    endpoint: dict[str, Any] = {"latency": "lognormal:500,0.2", "slowdown": "usl:0.02,0.02"}
    gain = of_kind(advise(measured(wide(40, **endpoint))), "limit")
    assert (gain.change, gain.unseen, gain.is_sure) == ("limit none → 10", None, True)
    real = (wide(40, **endpoint).duration - wide(40, 10, **endpoint).duration) / 1e6
    assert gain.ms == pytest.approx(real, rel=0.1)


def test_more_requests_in_a_minute() -> None:
    trace = wide(30, latency="constant:100", limits=Limits(requests_per_minute=10))
    gain = of_kind(alone(trace), "rate")
    assert (gain.change, gain.where) == ("requests per minute 10 → 20", "backends.simulated.requests_per_minute")
    assert gain.ms == pytest.approx(61_200)  # two windows become one


def test_a_tool_declared_readonly() -> None:
    trace = ran(api.compile_text(FETCHING), None, items(6), latency="constant:1000")
    gain = of_kind(alone(trace), "readonly")
    assert (gain.change, gain.where) == ("`fetch` declared readonly", "<text>:7")
    assert (gain.ms, gain.low_ms) == (5 * 250, 5 * 250)


def test_a_tool_that_others_change_things_for_keeps_its_place_behind_them() -> None:
    text = FETCHING.replace("return ask(f", 'inv("store", found) -> kept\n      return ask(f').replace(
        "found)\n    }", "kept)\n    }"
    )
    before = ran(api.compile_text(text), None, items(4), latency="constant:1000")
    gain = [each for each in advise(measured(before)).gains if each.kind == "readonly"]
    after = ran(
        api.compile_text(text.replace("fetch(q: str) -> str", "fetch(q: str) -> str readonly")),
        None,
        items(4),
        latency="constant:1000",
    )
    assert sum(each.ms for each in gain) == pytest.approx((before.duration - after.duration) / 1e6)


def test_no_turn_to_wait_for() -> None:
    COUNTED["rows"] = 0
    trace = flowed(in_turn, *items(5), latency="constant:1000")
    gain = of_kind(alone(trace), "turn")
    line = trace.program.names.plans[0].nodes[-2].line
    assert (gain.ms, gain.change) == (4000, f"no wait for the turn in front of `in_turn:{line}`")
    assert gain.where == f"f.py:{line}"


def test_an_operation_twice_as_fast() -> None:
    gain = of_kind(alone(wide(4, latency="constant:1000")), "faster")
    assert (gain.ms, gain.percent, gain.where, gain.cost) == (500, 50, "<text>:2", 0)


def test_two_operations_of_one_line_are_two() -> None:
    text = 'agent A { @entry flow f() -> str { ask("a") -> a return ask("b", a) } }'
    found = alone(ran(api.compile_text(text), latency="constant:1000"))
    assert [(each.change, each.where) for each in found.gains] == [
        ("`a` twice as fast", "<text>:1"),
        ("`ask#1` twice as fast", "<text>:1"),
    ]


def test_another_model_and_what_it_costs() -> None:
    text = """
    agent A { @entry flow f() -> str {
      ask("One", backend: "slow") -> one
      ask("Two", one, backend: "quick") -> two
      return ask("Three", two, backend: "quick")
    } }
    """
    program = api.compile_text(text)
    backends = {
        name: SimulatedBackend(name=name, latency=f"constant:{ms}", limits=Limits(prices={"simulated": Price(rate, 0)}))
        for name, ms, rate in (("slow", 2000, 1.0), ("quick", 500, 5.0))
    }
    trace = run_virtually(Run(LoadedProgram(program), program.flows[0], (), BackendPool(backends, "slow")).execute())
    gain = of_kind(advise(measured(trace)), "model")
    assert (gain.change, gain.where, gain.ms) == ("`one` by quick (simulated)", "<text>:3", 1500)
    tokens = trace.operations[0].attempts[-1].usage.input_tokens
    assert tokens is not None
    assert gain.cost == pytest.approx(4 * tokens / 1e6)


def late_one(count: int = 40) -> str:
    """The latencies of calls of which one takes fifty times as long."""
    return "trace:" + ",".join(["100"] * (count - 1) + ["5000"])


def test_a_second_request_where_the_first_is_late_and_what_it_costs() -> None:
    trace = wide(40, latency=late_one(), limits=Limits(prices=PRICES))
    gain = of_kind(advise(measured(trace)), "hedging")
    assert gain.change == "a second request after 0.1 s"
    assert gain.ms > 4700
    used = trace.operations[-1].attempts[-1].usage
    assert used.input_tokens is not None
    assert used.output_tokens is not None
    assert gain.cost == pytest.approx((used.input_tokens + 10 * used.output_tokens) / 1e6)


def test_no_stragglers() -> None:
    gain = of_kind(advise(measured(wide(40, latency=late_one()))), "stragglers")
    assert 4700 < gain.ms < 4801


def test_no_failures() -> None:
    trace = wide(6, latency="constant:1000", faults="500:@3")
    gain = of_kind(advise(measured(trace)), "retries")
    assert gain.ms == pytest.approx(trace.duration / 1e6 - 1000)
    assert (gain.where, gain.cost) == ("simulated", 0)


def test_where_it_refuses_what_is_too_much_a_lower_limit_helps() -> None:
    found = advise(measured(wide(60, 40, latency="lognormal:1000,0.2", faults="429:>8")))
    assert {"retries", "limit"} <= kinds(found)
    limit = of_kind(found, "limit")
    assert limit.change in ("limit 40 → 10", "limit 40 → 20")


def test_what_makes_no_difference_is_not_told() -> None:
    found = advise(measured(wide(1, latency="constant:1000")))
    assert kinds(found) == {"faster"}
    nothing = advise(measured(ran(api.compile_text('agent A { @entry flow f() -> str { return "x" } }'))))
    assert (nothing.gains, nothing.fits) == ((), True)


def test_a_run_that_does_not_come_out_as_it_was_gets_no_advice() -> None:
    run = replace(measured(wide(16, 4, latency="constant:1000")), max_concurrency=None)
    found = advise(run, ALONE)
    assert (found.fits, found.gains, found.rerun_ms, found.duration_ms) == (False, (), 1000, 4000)


def test_where_the_endpoint_is_known_the_run_need_not_show_it() -> None:
    run = measured(wide(16, 4, latency="constant:1000", slowdown="usl:0.1,0"))
    unknown = of_kind(advise(run), "limit", "16")
    known = of_kind(advise(run, {"simulated": law(None, 0.1, 0)}), "limit", "16")
    real = (run.duration - wide(16, 16, latency="constant:1000", slowdown="usl:0.1,0").duration) / 1e6
    assert known.ms == pytest.approx(real, rel=1e-4)
    assert unknown.low_ms == 0
    assert unknown.high_ms >= real


@pytest.mark.parametrize(
    ("discipline", "services", "slots", "slowed"),
    [("sharing", (1000, 1100, 1300, 1700, 2500), None, 1.7), ("queue", (1000, 1000, 1000, 2000, 4000), 4, 1.0)],
)
def test_a_profile_is_a_law(discipline: Any, services: tuple[float, ...], slots: int | None, slowed: float) -> None:
    found = law_of(profile(*services, discipline=discipline))
    assert (found.slots, found.factor(8)) == (slots, slowed)


def test_a_large_run_is_run_again_only_so_often() -> None:
    run = measured(wide(200, 4, latency="constant:1000"))
    found = advise(run, most=1000)
    assert found.notes[0].endswith("changes were not tried: the run is large.")
    assert of_kind(found, "limit").ms > 0


def test_options_of_a_run_are_its_trace_s() -> None:
    program = api.compile_text(WIDE)
    backend = SimulatedBackend(limits=Limits(max_concurrency=7, prices=PRICES))
    pool = BackendPool({"simulated": backend}, "simulated")
    run = Run(LoadedProgram(program), program.flows[0], items(2), pool, RunOptions(max_concurrency=5))
    found = measured(run_virtually(run.execute()))
    assert (found.max_concurrency, found.endpoints[0].limits.max_concurrency) == (5, 7)
    assert found.endpoints[0].limits.prices == PRICES
