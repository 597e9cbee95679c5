"""Loops to exact instants: which turns overlap, what waits for what, and that the text alone decides the rest."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.errors import BackendError, CompileError
from apxm.reports.structs import run_json
from apxm.reports.summary import summary_line
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.options import RunOptions
from apxm.runtime.state import State
from apxm.runtime.trace import Status, Trace
from apxm.testing import ScriptedBackend, execute_virtually, rehearse
from tests.test_dataflow import compiled, ms, timed

LEVELS = [0, 1]


def run(text: str, level: int, **latencies: float) -> Trace:
    return execute_virtually(compiled(text, level), timed(**latencies))


def paths(trace: Trace) -> list[str]:
    """The calls in the order in which they were sent."""
    sent = sorted(trace.operations, key=lambda record: (record.attempts[0].sent, record.frame, record.node))
    return [trace.path_of(record.frame, record.node) for record in sent]


FIFTY = "[" + ", ".join(f'"{n}"' for n in range(50)) + "]"
IN_A_FLOW = "agent A {{ @entry flow main() -> json {{ return inner() }} flow inner() -> json {{ {0} return ys }} }}"
AT_THE_TOP = "agent A {{ flow main() -> json {{ {0} return ys }} }}"
IN_AN_ARM = """agent A {{ flow main() -> json {{
    switch ask("none") {{ case "[none]" => {{ {0} return ys }}  default => {{"k": 1}} }} -> zs
    return zs
}} }}"""
IN_A_TURN = "agent A {{ flow main() -> json {{ for once in [1] {{ {0} return ys }} -> zs  return zs }} }}"
IN_A_TRY = """agent A {{ flow main() -> json {{
    try {{ {0} return ys }} catch {{ return {{"k": 1}} }} -> zs
    return zs
}} }}"""
PLACES = [AT_THE_TOP, IN_A_FLOW, IN_AN_ARM, IN_A_TURN, IN_A_TRY]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("place", PLACES)
def test_turns_that_carry_nothing_run_at_once(place: str, level: int) -> None:
    text = place.format(f'for x in {FIFTY} {{ ask("item " + x) -> y  return y }} -> ys')
    trace = run(text, level, item=1000, none=0)
    assert ms(trace) == 1000
    value = trace.value[0] if place is IN_A_TURN else trace.value
    assert value == [f"[item {n}]" for n in range(50)]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("place", PLACES)
def test_an_accumulator_delays_only_what_uses_it(place: str, level: int) -> None:
    text = place.format(
        f'for x in {FIFTY} (notes: "") {{ ask("item " + x) -> y  ask("note", notes, y) -> z  next notes: z }} -> ys'
    )
    assert ms(run(text, level, none=0)) == 51_000


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("place", PLACES)
def test_a_loop_overlaps_the_call_that_ignores_what_it_carries(place: str, level: int) -> None:
    text = place.format('loop (max: 5, d: "") { ask("free") -> a  ask("bound", d, a) -> b  next d: b } -> ys')
    assert ms(run(text, level, none=0)) == 6000


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("place", PLACES)
def test_the_next_turn_begins_when_until_is_known_not_to_hold(place: str, level: int) -> None:
    # `free` of the next turn overlaps `bound` of this one, as `until` needs only `check`.
    text = place.format(
        """
        loop (max: 3, d: "") {
            ask("free") -> a
            ask("check", a) -> c
            switch c { case "done" => { return true }  default => { return false } } -> done
            until done
            ask("bound", d, a) -> b
            next d: b
        } -> ys
        """
    )
    assert ms(run(text, level, free=10, check=1, bound=1000, none=0)) == 10 + 1 + 3 * 1000


@pytest.mark.parametrize("level", LEVELS)
def test_until_ends_a_loop_before_what_stands_behind_it(level: int) -> None:
    text = """
    agent A { flow main() -> str {
        loop (max: 9, d: "x") {
            ask("check", d) -> c
            switch c { case "yes" => { return true }  default => { return false } } -> good
            until good
            ask("better", d) -> d2
            print(d2)
            next d: d2
        } -> final
        return final
    } }
    """
    answers = iter(["no", "b1", "no", "b2", "yes"])
    backend = ScriptedBackend(script=lambda _request: next(answers))
    trace = execute_virtually(compiled(text, level), backend)
    assert (trace.value, trace.printed, ms(trace)) == ("b2", ["b1", "b2"], 5000)
    assert paths(trace) == [
        "final[1]/c",
        "final[1]/d2",
        "final[2]/c",
        "final[2]/d2",
        "final[3]/c",
    ]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("loop", "value"),
    [
        ('loop (max: 1, d: "s") { ask("q " + d) -> e  next d: e }', "[q s]"),
        ('loop (max: 2, d: "s") { ask("q " + d) -> e  next d: e }', "[q [q s]]"),
        ('loop (max: 4, d: "s") { ask("q " + d) -> e  next d: e  until true }', "[q s]"),
        ('loop (max: 4, d: "s") { until true  ask("q " + d) -> e  next d: e }', "s"),
        ('loop (max: 4, d: "s") { until false  next d: d + "x"  until false }', "sxxxx"),
        ('for x in ["a"] (d: "s") { next d: d + x }', "sa"),
        ('for x in ({"e": []}) (d: "s") { next d: d + x }', None),
    ],
)
def test_what_a_loop_gives(loop: str, value: str | None, level: int) -> None:
    trace = run(f"agent A {{ flow main() -> str {{ {loop} -> r  return r }} }}", level)
    if value is None:
        assert [(failure.operation, failure.kind) for failure in trace.failures] == [("r", "wrong_type")]
    else:
        assert trace.value == value


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("behind", ["", "print(n)"])
@pytest.mark.parametrize(
    ("condition", "failure"),
    [
        ("d.done as bool", ("last[1]/until#1", "missing_field")),
        ('ask("bad 1", schema: bool)', ("last[1]/ask#1", "broken")),
    ],
)
def test_where_nobody_knows_whether_a_loop_goes_on_what_it_gives_has_failed(
    condition: str, failure: tuple[str, str], behind: str, level: int
) -> None:
    text = f"""
    agent A {{ flow main(d: json) -> int {{
        loop (max: 3, n: 1) {{ next n: n + 1  until {condition} {behind} }} -> last
        print("last", last)
        return 0
    }} }}
    """
    trace = execute_virtually(compiled(text, level), failing("bad"), arguments=[{}])
    assert [(f.operation, f.kind) for f in trace.failures] == [failure]
    assert (trace.status, trace.printed) == (Status.FAILED, [])


@pytest.mark.parametrize("level", LEVELS)
def test_a_for_over_null_fails_as_over_anything_that_is_no_list(level: int) -> None:
    text = "agent A { flow main(d: json) -> json { for x in d (max: 3) { return x } -> ys  return ys } }"
    trace = execute_virtually(compiled(text, level), arguments=[None])
    assert [(f.operation, f.kind) for f in trace.failures] == [("ys", "wrong_type")]


@pytest.mark.parametrize("level", LEVELS)
def test_no_items_are_no_turns(level: int) -> None:
    text = """
    agent A { flow main(xs: list[str]) -> json {
        print("before")
        for x in xs { print(x)  ask(x) -> y  return y } -> ys
        for x in xs (n: 1, m: "s") { print(x)  next n: n + 1, m: x } -> last
        print("after")
        return {"ys": ys, "last": last}
    } }
    """
    trace = execute_virtually(compiled(text, level), timed(), arguments=[[]])
    assert trace.value == {"ys": [], "last": {"n": 1, "m": "s"}}
    assert trace.printed == ["before", "after"]


@pytest.mark.parametrize("level", LEVELS)
def test_lines_are_printed_in_the_order_of_the_turns(level: int) -> None:
    text = """
    agent A { flow main() {
        print("first")
        for x in ["30", "20", "10"] {
            for y in ["2", "1"] { ask(x + y) -> z  print(z) }
            print("end of", x)
        }
        print("last")
    } }
    """
    trace = run(text, level, **{"302": 1, "301": 9, "202": 5, "201": 2, "102": 3, "101": 4})
    assert trace.printed == [
        "first",
        *("[302]", "[301]", "end of 30"),
        *("[202]", "[201]", "end of 20"),
        *("[102]", "[101]", "end of 10"),
        "last",
    ]
    assert ms(trace) == 9


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("window", "duration"), [(1, 6000), (2, 3000), (4, 2000), (6, 1000), (4096, 1000)])
def test_at_most_so_many_turns_are_open(window: int, duration: float, level: int) -> None:
    text = 'agent A { flow main() -> json { for x in [1, 2, 3, 4, 5, 6] { return ask("" + x) } -> ys  return ys } }'
    options = RunOptions(max_open_turns=window)
    trace = execute_virtually(compiled(text, level), timed(), options=options)
    assert (ms(trace), trace.value) == (duration, [f"[{n}]" for n in range(1, 7)])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("window", [1, 3, 4096])
def test_what_is_carried_crosses_the_window(window: int, level: int) -> None:
    text = (
        f"agent A {{ flow main() -> int {{ for x in {list(range(20))} (n: 0) {{ next n: n + x }} -> n  return n }} }}"
    )
    trace = execute_virtually(compiled(text, level), timed(), options=RunOptions(max_open_turns=window))
    assert trace.value == sum(range(20))


@pytest.mark.parametrize("level", LEVELS)
def test_loops_in_loops_are_refused_only_where_the_source_alone_opens_too_many_frames(level: int) -> None:
    text = """
    agent A { flow main(xs: list[str]) -> json {
        for x in xs { for y in xs { for z in xs { return ask(x + y + z) } -> zs  return zs } -> ys  return ys } -> all
        loop (max: 1000000, n: 0) {
            loop (max: 1000000, m: n) { until true  next m: m + 1 } -> m
            until true
            next n: m
        } -> last
        return {"all": all, "last": last}
    } }
    """
    trace = execute_virtually(compiled(text, level), timed(), arguments=[["a", "b"]])
    assert (ms(trace), trace.value["all"][1][0]) == (1000, ["[baa]", "[bab]"])
    with pytest.raises(CompileError, match="would unfold into more than 4,000,000 nodes"):
        compiled(text.replace("until true", ""), level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_longer_list_than_max_fails_the_for_and_names_the_limit(level: int) -> None:
    text = 'agent A { flow main() -> json { for x in [1, 2, 3] (max: 2) { return ask("" + x) } -> ys  return ys } }'
    trace = run(text, level)
    assert [(f.operation, f.kind, f.message) for f in trace.failures] == [
        ("ys", "too_many_items", "a list of 3 items, and `max` of `for` is 2")
    ]
    assert not trace.operations


@pytest.mark.parametrize("level", LEVELS)
def test_a_turn_that_fails_fails_the_list_and_no_other_turn(level: int) -> None:
    text = """
    agent A { flow main() -> json {
        for x in ["a", "b", "c"] { ask(x) -> y  print(y)  return y } -> ys
        print("after")
        return ys
    } }
    """
    backend = ScriptedBackend(
        script=lambda request: BackendError("broken", "no", retryable=False) if request.prompt == "b" else "ok"
    )
    trace = execute_virtually(compiled(text, level), backend)
    assert [failure.operation for failure in trace.failures] == ["ys[2]/y"]
    assert trace.printed == ["ok", "ok", "after"]
    assert len(trace.operations) == 3


def peak_frames(items: int, **limits: int) -> int:
    """The most frames that there are at once while a `for` with a call in each turn goes through `items`."""
    text = """
    agent A { flow main(xs: list[int]) -> int {
        for x in xs (max: 1000000, n: 0) { merge("" + x) -> y  print(y)  next n: n + 1 } -> n
        return n
    } }
    """
    program = LoadedProgram(compiled(text, 1))
    state = State(program.program, program.plans)
    peak = 0

    def look(_line: str) -> None:
        nonlocal peak
        peak = max(peak, state.open_frames)

    state.emit = look
    state.max_open_turns = limits.get("max_open_turns", 4096)
    state.start(program.program.flows[0].plan, [list(range(items))])
    assert state.take() is None
    assert state.results[0] == items
    assert not state.open_frames
    return peak


def test_a_long_list_opens_no_more_frames_than_the_window() -> None:
    assert peak_frames(300, max_open_turns=10) == 11
    assert peak_frames(10_000) == 4097


@pytest.mark.soak
def test_two_hundred_thousand_items_take_the_memory_of_their_results() -> None:
    tracemalloc.start()
    try:
        peak_frames(200_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The list of ints itself is 40 bytes an item, the record of a frame 16, the window some megabytes.
    assert peak < 200_000 * 64 + 20_000_000


# --- try --------------------------------------------------------------------------------------------------------------


def failing(*prompts: str) -> ScriptedBackend:
    """Each of `prompts` fails; its latency is the number behind it."""

    def script(request: object) -> str | BackendError:
        prompt = request.prompt  # type: ignore[attr-defined]
        return BackendError("broken", prompt, retryable=False) if prompt.split()[0] in prompts else f"[{prompt}]"

    return ScriptedBackend(script=script, latency_ms=lambda request: float(request.prompt.split()[1]))


@pytest.mark.parametrize("level", LEVELS)
def test_the_handler_hears_of_the_failure_that_is_first_in_the_program_once_all_is_over(level: int) -> None:
    text = """
    agent A { @entry flow main() -> str {
        try {
            both() -> x
            ask("bad 5") -> y
            ask("slow 100") -> z
            return merge(x, y, z)
        } catch e { print(e.operation, e.kind, e.message)  return ask("caught 1") } -> r
        print("after", r)
        return r
    }
    flow both() -> str { ask("fine 1") -> a  ask("worse 50") -> b  return merge(a, b) } }
    """
    trace = execute_virtually(compiled(text, level), failing("bad", "worse"))
    assert (trace.status, trace.value, ms(trace)) == (Status.SUCCEEDED, "[caught 1]", 101)
    assert trace.printed == ["r/body/x/b broken worse 50", "after [caught 1]"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_try_in_each_turn_keeps_the_others(level: int) -> None:
    text = """
    agent A { flow main() -> json {
        for x in ["a 1", "b 2", "c 3"] {
            try { return ask(x) } catch e { return "no " + e.message } -> y
            return y
        } -> ys
        return ys
    } }
    """
    trace = execute_virtually(compiled(text, level), failing("b"))
    assert trace.value == ["[a 1]", "no b 2", "[c 3]"]
    assert (trace.failures, trace.failed) == ([], 1)
    assert [(failure.operation, failure.kind) for failure in trace.caught] == [("ys[2]/y/body/ask#1", "broken")]
    metrics = measure(trace, LinkPhases(), failing().info)
    assert metrics.execution.failures_caught == 1
    assert summary_line(metrics).startswith("succeeded: 3 operations (1 failed), 1 failure caught, 3 LLM calls in ")
    assert json.loads(run_json(trace, metrics, "id"))["caught"][0]["message"] == "b 2"


@pytest.mark.parametrize("level", LEVELS)
def test_a_failure_from_outside_is_not_caught(level: int) -> None:
    text = """
    agent A { flow main() -> str {
        ask("bad 1") -> x
        try { return ask("use 1", x) } catch { return "caught" } -> r
        return r
    } }
    """
    trace = execute_virtually(compiled(text, level), failing("bad"))
    assert [failure.operation for failure in trace.failures] == ["x"]
    assert trace.status is Status.FAILED


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("body", ["return d.name", 'return "" + d.name', "let n = d.name  return ask(n)"])
def test_a_value_that_cannot_be_computed_is_caught(body: str, level: int) -> None:
    attempt = f"try {{ {body} }} catch e {{ return e.kind }}"
    text = f"agent A {{ flow main(d: json) -> json {{ {attempt} -> r  return r }} }}"
    trace = execute_virtually(compiled(text, level), failing(), arguments=[{}])
    assert trace.value == "missing_field"


@pytest.mark.parametrize("level", LEVELS)
def test_a_failure_in_the_handler_is_one_of_what_is_around_it(level: int) -> None:
    text = """
    agent A { flow main() -> str {
        try {
            try { return ask("bad 1") } catch { return ask("bad 2") } -> inner
            return inner
        } catch e { return e.operation } -> r
        return r
    } }
    """
    trace = execute_virtually(compiled(text, level), failing("bad"))
    assert trace.value == "r/body/inner/catch/ask#1"


@pytest.mark.parametrize(
    ("inner", "first", "duration"), [("bad", "r/body/try#1/catch/ask#1", 12), ("good", "r/body/ask#1", 10)]
)
def test_a_body_is_not_over_before_an_attempt_in_it_that_nothing_waits_for(
    inner: str, first: str, duration: float
) -> None:
    text = f"""
    agent A {{ flow main() -> str {{
        try {{
            try {{ ask("{inner} 9") }} catch {{ ask("bad 2") }}
            return ask("bad 1")
        }} catch e {{ return ask("caught 1", e.operation) }} -> r
        return r
    }} }}
    """
    trace = execute_virtually(compiled(text, 0), failing("bad"))
    assert trace.value == f"[caught 1\n\nContext 1: {first}]"
    assert (ms(trace), trace.failures) == (duration, [])


@pytest.mark.parametrize("level", LEVELS)
def test_a_first_failure_that_is_caught_does_not_cancel_the_run(level: int) -> None:
    text = (
        'agent A { flow main() -> str { try { return ask("bad 1") } catch { return ask("good 9") } -> r  return r } }'
    )
    trace = execute_virtually(compiled(text, level), failing("bad"), options=RunOptions(on_error="cancel"))
    assert trace.value == "[good 9]"


# --- if ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("a", "b", "value"), [(True, False, "[one]"), (False, True, "[two]"), (False, False, "[three]")]
)
def test_the_first_condition_that_holds_decides(a: bool, b: bool, value: str, level: int) -> None:
    text = """
    agent A { flow main(a: bool, b: bool) -> str {
        if a { return ask("one") } else if b { return ask("two") } else { return ask("three") } -> x
        if a { print("a") }
        if b { print("b") } else { print("not b") }
        if a { return x } else { return x }
    } }
    """
    backend = timed()
    trace = execute_virtually(compiled(text, level), backend, arguments=[a, b])
    assert (trace.value, backend.prompts) == (value, [value[1:-1]])
    assert trace.printed == [*(["a"] if a else []), "b" if b else "not b"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("given", ['"text"', "7", '{"a": 1}', "true"])
def test_a_for_over_json_of_a_flow_fails_where_that_is_known_to_be_no_list(given: str, level: int) -> None:
    text = f"""
    agent A {{ @entry flow main() -> json {{ return each({given}) }}
        flow each(found: json) -> json {{ for x in found {{ return x }} -> ys  return ys }} }}
    """
    trace = execute_virtually(compiled(text, level))
    assert [(f.operation, f.kind) for f in trace.failures] == [("each#1/ys", "wrong_type")]


# --- which failure it is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_of_two_values_that_cannot_be_computed_the_first_in_the_text_is_named_wherever_they_are(level: int) -> None:
    text = """
    agent A {
        flow f(a: str, b: json) { print(b.p as str, a) }
        @entry flow main(d: json) { f(d.b as str, d)  print("x" + (d.b as str) + d.p) }
    }
    """
    trace = execute_virtually(compiled(text, level), timed(), arguments=[{"b": 1}])
    assert [failure.kind for failure in trace.failures] == ["missing_field", "wrong_type"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_list_of_which_one_item_failed_and_another_cannot_be_computed_has_failed(level: int) -> None:
    text = """
    agent A { flow main(d: json) -> str {
        for x in ["a", "b"] { if x == "a" { return d.zz } else { return ask("bad 1") } -> y  return y } -> ys
        try { print(ys)  return "printed" } catch e { return e.kind } -> r
        return r
    } }
    """
    trace = execute_virtually(compiled(text, level), failing("bad"), arguments=[{}])
    assert [failure.operation for failure in trace.failures] == ["ys[2]/y/else/ask#1"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("head", ["for n in [1, 2]", "loop (max: 2, n: 1)"])
def test_what_changes_something_comes_behind_what_all_turns_read(head: str, level: int) -> None:
    carried = "next n: n + 1" if head.startswith("loop") else ""
    text = f"""
    agent A {{
        capability look(q: str) -> str readonly
        capability change(q: str) -> str
        flow main() {{
            {head} {{
                if n == 1 {{ return ask(ask("late")) }} else {{ return ask("soon") }} -> q
                look(q) -> seen
                print(seen)
                {carried}
            }}
            change("it")
        }}
    }}
    """
    run = rehearse(compiled(text, level), tools={"look": "seen", "change": "changed"})
    assert [(call.tool, call.began_s) for call in run.tool_calls] == [("look", 1.0), ("look", 2.0), ("change", 3.0)]


@pytest.mark.parametrize("level", LEVELS)
def test_what_starts_empty_or_null_carries_what_next_gives(level: int) -> None:
    text = """agent A {
        flow loudest(texts: list[str], longest: str) -> str { return upper(join(texts, " ")) + longest }
        @entry flow main() -> json {
            let given: str? = null
            for topic in ["a", "bcd", "ef"] (found: [], best: null, score: 0) {
                if best != null and len(best) >= len(topic) { return best } else { return topic } -> longer
                next found: found + [topic], best: longer, score: score + 0.5
            } -> out
            let none = []
            if out.best == null { return "" } else { return loudest(none + out.found, out.best) } -> loud
            return {"loud": loud, "score": out.score, "given": given == null or upper(given) == "X"}
        }
    }"""
    assert run(text, level).value == {"loud": "A BCD EFbcd", "score": 1.5, "given": True}


def test_the_types_of_what_many_loops_in_each_other_carry_are_soon_known() -> None:
    """A block that was looked at twice in each of 24 loops would be looked at 16 million times."""
    heads = "".join(f'for i{n} in ["x"] (v{n}: []) {{ ' for n in range(24))
    tails = "".join(f"next v{n}: w{n + 1} }} -> w{n} " for n in reversed(range(24)))
    text = f"agent A {{ flow main() -> list[str] {{ {heads} let w24 = v23 + [i0] {tails} return w0 }} }}"
    assert run(text, 0).value == ["x"]
