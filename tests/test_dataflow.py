"""AIS text to exact instants: what overlaps, what waits, and that the text's own order decides the rest."""

from __future__ import annotations

from random import Random

import pytest

from apxm.backends.protocol import ModelRequest
from apxm.compiler.pipeline import compile_source
from apxm.errors import BackendError, CompileError
from apxm.program.codec import decode, encode
from apxm.program.program import Program
from apxm.runtime.options import RunOptions
from apxm.runtime.trace import Status, Trace
from apxm.source import SourceFile
from apxm.testing import ScriptedBackend, execute_virtually

LEVELS = [0, 1, 2]
SAME_CALLS = [0, 1]
"""Levels that leave the calls as they are; -O2 would fuse some of these chains into one."""


def compiled(text: str, level: int = 1) -> Program:
    """By way of an artifact, as `apxm run` gets it."""
    return decode(encode(compile_source(SourceFile("test.ais", text), level=level).program))


def timed(otherwise: float = 1000, **latencies: float) -> ScriptedBackend:
    """Each prompt's first word says how long it takes."""
    return ScriptedBackend(latency_ms=lambda request: latencies.get(request.prompt.split()[0], otherwise))


def ms(trace: Trace) -> float:
    assert trace.status is Status.SUCCEEDED, trace.failures
    return trace.duration / 1e6


TWO_BRANCHES = """
agent A {
    flow main() -> str {
        ask("quick one") -> a
        ask("slow two", a) -> b
        ask("slow one") -> c
        ask("quick two", c) -> d
        merge(b, d) -> both
        return both
    }
}
"""

BRANCHES_ARE_FLOWS = """
agent A {
    @entry flow main() -> str {
        first() -> b
        second() -> d
        merge(b, d) -> both
        return both
    }
    flow first() -> str { ask("quick one") -> a  ask("slow two", a) -> b  return b }
    flow second() -> str { ask("slow one") -> a  ask("quick two", a) -> b  return b }
}
"""

STAGES_ARE_FLOWS = """
agent A {
    @entry flow main() -> str {
        stage("quick one", "none") -> a
        stage("slow two", a) -> b
        stage("slow one", "none") -> c
        stage("quick two", c) -> d
        return merge(b, d)
    }
    flow stage(prompt: str, before: str) -> str { return ask(prompt, before) }
}
"""

STAGE_IN_A_SWITCH = """
agent A {
    @entry flow main(kind: str = "this") -> str {
        ask("endless") -> late
        ask("quick one") -> a
        switch kind {
            case "this" => ask("slow two", a)
            case "that" => ask("slow two", late)
        } -> b
        ask("slow one") -> c
        ask("quick two", c) -> d
        merge(b, d) -> both
        print(both)
        return late
    }
}
"""


@pytest.mark.parametrize("level", SAME_CALLS)
@pytest.mark.parametrize("text", [TWO_BRANCHES, BRANCHES_ARE_FLOWS, STAGES_ARE_FLOWS])
def test_two_branches_of_uneven_stages_take_the_longer_one(text: str, level: int) -> None:
    trace = execute_virtually(compiled(text, level), timed(quick=200, slow=1000))
    assert ms(trace) == 1200


@pytest.mark.parametrize("level", SAME_CALLS)
@pytest.mark.parametrize("kind", ["this", " THIS\n"])
def test_a_stage_in_a_switch_arm_waits_for_nothing_that_only_the_other_arm_uses(level: int, kind: str) -> None:
    backend = timed(quick=200, slow=1000, endless=60_000)
    trace = execute_virtually(compiled(STAGE_IN_A_SWITCH, level), backend, arguments=[kind])
    assert sorted(call.ended_ms or 0 for call in backend.calls) == [200, 1000, 1200, 1200, 60_000]
    assert ms(trace) == 60_000


@pytest.mark.parametrize("level", LEVELS)
def test_printed_lines_come_in_the_order_of_the_text_through_every_construct(level: int) -> None:
    text = """
    agent A {
        @entry flow main(kind: str) {
            ask("slow") -> a
            print("one", a)
            switch kind {
                case "x" => { say("two")  ask("slow") -> b  print("three", b) }
                default  => print("other")
            }
            say("four")
            switch kind { case "x" => ask("slow")  default => { print("unused") return "" } } -> quiet
            print("five", quiet)
        }
        flow say(text: str) { ask("quick") -> x  print(text, x) }
    }
    """
    program = compiled(text, level)
    for slow, quick in [(1000, 1), (1, 1000)]:
        trace = execute_virtually(program, timed(slow=slow, quick=quick), arguments=["x"])
        assert trace.printed == ["one [slow]", "two [quick]", "three [slow]", "four [quick]", "five [slow]"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_failure_skips_what_needs_it_and_the_prints_behind_it_still_happen_in_order(level: int) -> None:
    text = """
    agent A {
        @entry flow main() -> str {
            ask("slow") -> a
            print("one", a)
            ask("bad") -> b
            print("two", b)
            tell(b)
            print("five")
            switch b { case "x" => print("six")  default => print("seven") }
            print("eight")
            return a
        }
        flow tell(x: str) { print("three", x)  print("four") }
    }
    """

    def script(request: ModelRequest) -> str | BackendError:
        return BackendError("http_status", "no", retryable=False) if request.prompt == "bad" else "ok"

    backend = ScriptedBackend(script=script)
    trace = execute_virtually(compiled(text, level), backend)
    assert trace.status is Status.FAILED
    assert trace.printed == ["one ok", "four", "five", "eight"]
    assert [failure.operation for failure in trace.failures] == ["b"]
    assert [failure.where for failure in trace.failures] == ["test.ais:6:13"]


@pytest.mark.parametrize("level", LEVELS)
def test_stable_paths_name_failures_alike_at_every_level(level: int) -> None:
    text = """
    agent A {
        @entry flow main() -> str {
            outer("x") -> done
            return done
        }
        flow outer(k: str) -> str {
            switch k { case "x" => { inner() -> deep  return deep }  default => "none" } -> chosen
            return chosen
        }
        flow inner() -> str { return ask("bad") }
    }
    """
    backend = ScriptedBackend(script=lambda _: BackendError("http_status", "no", retryable=False))
    trace = execute_virtually(compiled(text, level), backend)
    assert [failure.operation for failure in trace.failures] == ["done/chosen/x/deep/ask#1"]


@pytest.mark.parametrize("level", LEVELS)
def test_values_of_all_kinds_reach_the_model_as_their_text_forms(level: int) -> None:
    text = """
    agent A {
        system: "Terse."
        @entry flow main(n: int, rate: float, data: json) -> json {
            let doubled = n + n
            let title = f"{n}|{rate}|{data.name}|{{}}"
            ask(title + "!" + doubled, [n, rate], {"k": data}) -> a
            ask("", a) -> b
            return [a, b, doubled + 0.5]
        }
    }
    """
    backend = ScriptedBackend(script=lambda request: str(len(request.prompt)))
    trace = execute_virtually(compiled(text, level), backend, arguments=[2, 3.0, {"name": "Zoë"}])
    assert backend.prompts == [
        '2|3.0|Zoë|{}!4\n\nContext 1: [2.0,3.0]\n\nContext 2: {"k":{"name":"Zoë"}}',
        "Context 1: 69",
    ]
    assert backend.calls[0].request.system == "Terse."
    assert trace.value == ["69", "13", 4.5]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("limit", [None, 1, 3])
def test_the_result_does_not_depend_on_timing(level: int, limit: int | None) -> None:
    program = compiled(STAGE_IN_A_SWITCH, level)
    results: set[tuple[str, tuple[str, ...]]] = set()
    for seed in range(10):

        def latency(request: ModelRequest, seed: int = seed) -> float:
            return Random(f"{seed}{request.prompt}").randrange(1, 1000)

        backend = ScriptedBackend(latency_ms=latency)
        trace = execute_virtually(program, backend, arguments=["that"], options=RunOptions(max_concurrency=limit))
        results.add((trace.value, tuple(trace.printed)))
    assert len(results) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_calls_that_multiply_beyond_what_a_run_can_hold_are_refused_by_the_compiler(level: int) -> None:
    doubling = "".join(f"flow f{i + 1}(x: str) -> str {{ f{i}(x) -> a  f{i}(a) -> b  return b }}\n" for i in range(40))
    text = (
        f'agent A {{ flow f0(x: str) -> str {{ return ask(x) }}\n{doubling} flow main() -> str {{ return f40("x") }} }}'
    )
    with pytest.raises(CompileError, match=r"one run of A\.f\d+ would unfold into more than 4,000,000 nodes"):
        compiled(text, level)


NEEDED_OR_NOT = """
agent A {
    @entry flow main(j: json, k: str) -> str {
        let long = "1" + j.missing + k + "2" + k
        switch k { case "never" => { print(long) print("again", long) } default => { print("ok") } }
        shown(j.missing)
        return ignored(j.missing, "u")
    }
    flow ignored(x: json, y: str) -> str { return y }
    flow shown(x: json) { print("in") print("x", x) print("end") }
}
"""


@pytest.mark.parametrize("level", LEVELS)
def test_where_a_value_is_missing_only_what_needs_it_fails(level: int) -> None:
    trace = execute_virtually(compiled(NEEDED_OR_NOT, level), arguments=({"a": 1}, "x"))
    assert trace.printed == ["ok", "in", "end"]
    assert [(f.operation, f.where, f.kind) for f in trace.failures] == [
        ("shown#1/print#2", "test.ais:10:39", "missing_field")
    ]
    assert (trace.executed, trace.failed, trace.skipped) == (4, 1, 0)
