"""Work and span of turns before any run: exact where all is known, and bounds of every run where it is not."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apxm.analysis.predict import Predictor
from apxm.analysis.static import Analysis, Range, analyze
from apxm.analysis.work_span import longest_path, work
from apxm.compiler.pipeline import compile_source
from apxm.errors import UsageError
from apxm.operations.types import Value
from apxm.source import SourceFile
from apxm.testing import ScriptedBackend, execute_virtually
from tests.analysis.endpoints import profile
from tests.turning import answering, turning_source

SECOND = profile(1000)
LOOPS = {
    "beside each other": ("for x in xs { return ask(x) } -> r  return {'r': r}", 0),
    "one after the other": ("for x in xs (n: '') { ask('a', n, x) -> m  next n: m } -> r  return {'r': r}", 1000),
    "half of it": (
        "for x in xs (n: '') { ask('a', x) -> y  ask('b', n, y) -> m  next n: m } -> r  return {'r': r}",
        1000,
    ),
    "two that take turns": (
        "for x in xs (n: '', m: '') { ask('a', n) -> a  next n: m  next m: a } -> r  return {'r': r}",
        500,
    ),
    "turns in turns": (
        "for x in xs (n: '') { for y in ['1', '2', '3'] (k: n) { ask(y, k) -> l  next k: l } -> m  next n: m } -> r"
        "  return {'r': r}",
        3000,
    ),
    "in a flow": ("for x in xs (n: '') { twice(n) -> m  next n: m } -> r  return {'r': r}", 2000),
    "a line for each": ("for x in xs { ask(x) -> y  print(y) }  print('end')  return {}", 0),
}


def analyzed(body: str, turns: dict[str, int], level: int = 1, **known: Value) -> Analysis:
    text = "agent A { @entry flow main(xs: list[str]) -> json {" + body.replace("'", '"') + "}\n"
    text += 'flow twice(t: str) -> str { ask("1", t) -> a  return ask("2", a) } }'
    p = compile_source(SourceFile("test.ais", text), level=level).program
    assert p.entry is not None
    return analyze(p, p.flows[p.entry], (), SECOND, known, turns=turns)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("turns", [0, 1, 2, 5, 64, 1001])
@pytest.mark.parametrize("loop", LOOPS)
def test_any_number_of_turns_has_one_work_and_one_span(loop: str, turns: int, level: int) -> None:
    body, later = LOOPS[loop]
    found = analyzed(body, {"xs": turns}, level)
    calls = {"half of it": 2, "turns in turns": 3, "in a flow": 2}.get(loop, 1)
    if loop == "two that take turns":
        span = 1000 * ((turns + 1) // 2)
    else:
        span = later * turns + (1000 if turns and loop in ("beside each other", "half of it", "a line for each") else 0)
    assert (found.t_inf_ms.low, found.t_inf_ms.high) == (span, span)
    assert found.t1_ms == Range(1000 * calls * turns, 1000 * calls * turns, 1000 * calls * turns)
    assert found.loops[0].next_ms == later


@pytest.mark.parametrize("level", [0, 1])
def test_the_next_turn_begins_where_until_is_known_not_to_hold(level: int) -> None:
    # `check` of all turns one after the other, and a `bound` behind each but the last.
    body = """
    loop (max: 9, d: "") {
        ask("check") -> c
        switch c { case "done" => { return true }  default => { return false } } -> done
        until done
        ask("bound", d) -> b
        next d: b
    } -> r
    return {"r": r}
    """
    found = analyzed(body, {"r": 5}, level)
    assert found.t_inf_ms == Range(5000, 5500, 6000)
    assert (found.loops[0].turns, found.loops[0].next_ms) == (Range(5, 5, 5), 1000)
    free = analyzed(body, {}, level)
    assert (free.t_inf_ms.low, free.t_inf_ms.high) == (1000, 10_000)
    assert (free.loops[0].turns.low, free.loops[0].turns.high) == (1, 9)


def test_a_list_that_is_collected_is_behind_all_turns() -> None:
    body = "for x in xs (n: '') { ask('a', n) -> m  next n: m  return x } -> ys  ask('end', ys) -> e  return {'e': e}"
    assert analyzed(body, {"xs": 7}).t_inf_ms == Range(7000, 7000, 7000), "what it collects is there at once"
    assert analyzed(body.replace("return x", "return m"), {"xs": 7}).t_inf_ms == Range(8000, 8000, 8000)


def test_lists_that_are_given_are_counted_also_where_loops_hand_them_on() -> None:
    body = "for x in xs { return ask(x) } -> ys  for y in ys { return ask(y) } -> zs  return {'z': zs}"
    assert analyzed(body, {}, xs=["a", "b", "c"]).t1_ms == Range(6000, 6000, 6000)
    assert analyzed(body, {"zs": 2}, xs=["a", "b", "c"]).t1_ms == Range(5000, 5000, 5000)


@pytest.mark.parametrize(
    ("turns", "message", "hint"),
    [
        ({"xss": 3}, "A.main has no list and no loop called 'xss'", "did you mean xs?"),
        (
            {"wholly": 3},
            "A.main has no list and no loop called 'wholly'",
            "only lists of parameters and loops, by their path, have a number: there are xs, r, r/q",
        ),
        ({"r": 3}, "r cannot have 3 turns: this `loop` has 1 to 2", None),
        ({"r": 0}, "r cannot have 0 turns: this `loop` has 1 to 2", None),
    ],
)
def test_what_is_no_loop_and_no_number_of_its_turns_is_refused(
    turns: dict[str, int], message: str, hint: str | None
) -> None:
    body = """
    loop (max: 2, d: "") { for x in xs (n: d) { ask(n) -> m  next n: m } -> q  next d: q  until true } -> r
    return {"r": r}
    """
    with pytest.raises(UsageError) as refused:
        analyzed(body, turns)
    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_a_list_is_given_or_only_counted() -> None:
    with pytest.raises(UsageError, match="xs is given, and so is the number of its items"):
        analyzed("return xs", {"xs": 2}, xs=["a"])


TURNING = given(seed=st.integers(0, 2**32), level=st.sampled_from([0, 1]), is_given=st.booleans())


@settings(max_examples=20, deadline=None)
@TURNING
def test_every_run_lies_within_the_bounds_and_can_be_predicted(seed: int, level: int, is_given: bool) -> None:
    lies_within(seed, level, is_given)


@pytest.mark.soak
@settings(max_examples=500, deadline=None)
@TURNING
def test_many_runs_do(seed: int, level: int, is_given: bool) -> None:
    lies_within(seed, level, is_given)


def lies_within(seed: int, level: int, is_given: bool) -> None:
    random = Random(seed)
    p = compile_source(SourceFile("test.ais", turning_source(random)), level=level).program
    assert p.entry is not None
    flow = p.flows[p.entry]
    items = [f"x{n}" for n in range(random.randrange(4))]
    found = analyze(p, flow, (2,), SECOND, {"xs": items} if is_given else {})
    traces = [
        (failing, execute_virtually(p, ScriptedBackend(script=answering(run, failing).script), arguments=[items]))
        for run in range(3)
        for failing in (0, 0.3)
    ]
    traces += [(0, trace) for trace in Predictor(p, SECOND, seed).runs(flow, [items], most=3)]
    for failing, trace in traces:
        t1, t_inf, calls = work(trace) / 1e6, longest_path(trace).length / 1e6, len(trace.operations)
        for amount, bounds in ((t1, found.t1_ms), (t_inf, found.t_inf_ms), (calls, found.calls)):
            assert bounds.high is not None
            assert amount <= bounds.high
            assert failing or bounds.low <= amount


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("for x in xs (n: '', m: '') { ask(x, n) -> y  next n: y, m: x } -> r  return r", [("n", True, 0, 1000)]),
        ("for x in xs (n: '') { ask(x) -> y  ask(n, y) -> z  next n: z } -> r  return r", [("n", True, 0, 2000)]),
        ("for x in xs (a: '', b: '') { ask(a) -> y  ask(b) -> z  next a: y, b: z } -> r  return r", []),
        ("for x in xs { ask(x) -> y  save(y) } return {}", [("save", False, 0, 1200)]),
        ("for x in xs { if x == 'a' { ask(x) -> y  save(y)  send(y) } } return {}", [("save, send", False, 0, 700)]),
        ("for x in xs { ask(x) -> y  print(y) } return {}", []),
        ("loop (max: 10, n: '') { ask(n, schema: bool) -> done  until done  next n: n + 'x' } -> r  return r", []),
    ],
)  # fmt: skip
def test_what_alone_holds_turns_is_named(body: str, expected: list[tuple[str, bool, float, float]], level: int) -> None:
    tools = "capability save(q: str) -> str capability send(q: str) -> str "
    text = f"agent A {{ {tools} @entry flow main(xs: list[str]) -> json {{ {body} }} }}".replace("'", '"')
    p = compile_source(SourceFile("test.ais", text), level=level).program
    assert p.entry is not None
    (loop,) = analyze(
        p, p.flows[p.entry], (), SECOND, turns={"xs": 10} if "xs {" in body or "xs (" in body else {}
    ).loops
    assert [(h.what, h.is_carried, h.next_ms, h.t_inf_ms) for h in loop.held_by] == expected
