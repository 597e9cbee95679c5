"""Runs with scripted answers on virtual time."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import pytest

import apxm
from apxm.errors import BackendError, OperationError, UsageError
from apxm.runtime.scheduler import Run
from apxm.testing import ScriptedBackend, rehearse
from apxm.testing.scripted import execute_virtually

SOURCE = """
agent A {
    @entry flow main(topic: str, depth: int = 1) -> str {
        ask("First " + topic, backend: "nowhere") -> a
        ask("Second", system: "Be brief.") -> b
        print(depth)
        return ask("Third", a, b)
    }
    flow pick(x: str) -> str { switch ask(x) { case "a" => "A" case "b" => "B" } -> y return y }
}
"""


@pytest.fixture(scope="module")
def program() -> apxm.Program:
    return apxm.compile_text(SOURCE, name="a.ais")


def test_each_call_is_told_with_its_instants(program: apxm.Program) -> None:
    run = rehearse(program, topic="bees", answers={"First": "1", "Second": "2", "": "3"})
    assert (run.value, run.printed, run.duration_s) == ("3", ["1"], 2.0)
    told = [(call.operation, call.prompt, call.began_s, call.ended_s, call.answer) for call in run.calls]
    assert told == [
        ("a", "First bees", 0, 1, "1"),
        ("b", "Second", 0, 1, "2"),
        ("ask#1", "Third\n\nContext 1: 1\n\nContext 2: 2", 1, 2, "3"),
    ]
    assert [call.request.system for call in run.called("^Sec")] == ["Be brief."]


def test_arguments_and_limits_are_those_of_a_run(program: apxm.Program) -> None:
    run = rehearse(program, {"topic": "x"}, depth=7, latency_s=0.25, max_concurrency=1)
    assert (run.printed, run.duration_s) == (["7"], 0.75)
    assert run.value.startswith("[Third\n\nContext 1: [First x]")
    with pytest.raises(UsageError, match="main needs a value for topic"):
        rehearse(program)


def test_answers_may_be_a_function_values_failures_and_turns(program: apxm.Program) -> None:
    assert rehearse(program, topic="x", answers=lambda request: request.prompt[:5]).value == "Third"
    assert rehearse(program, topic="x", answers={"": {"a": [1]}}).value == '{"a": [1]}'
    turns = [("", "b"), ("", "a")]
    assert rehearse(program, {"x": "?"}, flow="pick", answers=turns).value == "B"
    run = rehearse(program, topic="x", answers=[("", "1"), ("", "2"), ("", "3")])
    assert sorted(str(call.answer) for call in run.calls) == ["1", "2", "3"]
    assert run.calls[-1].answer == "3"
    broken = rehearse(program, topic="x", answers={"First": BackendError("timeout", "slow", retryable=True), "": "y"})
    assert [(call.failure, call.answer) for call in broken.calls] == [("timeout", None), (None, "y")]


def test_a_failed_run_says_so_where_its_value_is_wanted(program: apxm.Program) -> None:
    run = rehearse(program, {"x": "?"}, flow="pick", answers={"other": "a"})
    assert run.status is apxm.Status.FAILED
    with pytest.raises(
        AssertionError, match=r"a\.ais:9:39: ask#1 failed \(no_answer\): no pattern answers the prompt '\?'"
    ):
        assert run.value
    with pytest.raises(UsageError, match=r"'\(' is not a regular expression"):
        rehearse(program, topic="x", answers={"(": "y"})


def test_it_loads_neither_compiler_nor_http_client() -> None:
    script = "import sys, apxm.testing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    names = loaded.stdout.split()
    assert "apxm.testing.rehearsal" in names
    assert not {"apxm.language.parser", "apxm.compiler.pipeline", "pyqwest", "sqlite3", "typer"} & {*names}


def test_tools_give_what_the_test_says_and_are_told_of() -> None:
    program = apxm.compile_text("""
        agent A {
            capability search(q: str) -> json readonly;
            @entry flow main(q: str) -> json {
                search(q) -> found
                inv("store", text: ask("Sum up.", found)) -> stored
                return [found, stored]
            }
        }
    """)
    given = {"search": lambda arguments: [arguments["q"]], "store": {"id": 7}}
    run = rehearse(program, q="bees", tools=given, answers={"": "Bees."})
    assert (run.value, run.duration_s, len(run.calls)) == ([["bees"], {"id": 7}], 3.0, 1)
    told = [(call.tool, call.arguments, call.value, call.began_s, call.ended_s) for call in run.tool_calls]
    assert told == [("search", {"q": "bees"}, ["bees"], 0, 1), ("store", {"text": "Bees."}, {"id": 7}, 2, 3)]
    broken = rehearse(program, q="bees", tools={"search": OperationError("tool_failed", "down")})
    assert [(call.tool, call.failure) for call in broken.tool_calls] == [("search", "tool_failed")]
    assert [failure.kind for failure in rehearse(program, q="bees").failures] == ["no_answer"]


def test_answers_can_call_tools() -> None:
    text = """agent A {
        capability look(q: str) -> str readonly
        @entry flow main(x: str) -> str { return ask("Say " + x, tools: [look]) }
    }"""
    answers = {
        "found it": "Done.",
        "Say": {"text": "Let me see.", "calls": [{"look": {"q": "a"}}, {"look": "{"}, {"nothing": {}}]},
    }
    run = rehearse(apxm.compile_text(text), {"x": "hi"}, answers=answers, tools={"look": "found it"})
    assert run.value == "Done."
    assert [(call.tool, call.arguments) for call in run.tool_calls] == [("look", {"q": "a"})]
    first, second = run.calls
    assert (first.operation, first.answer, second.operation) == ("ask#1[1]/ask", "Let me see.", "ask#1[2]/ask")
    (past,) = second.request.rounds
    assert past.text == "Let me see."
    assert [(call.tool, call.arguments) for call in past.calls] == [
        ("look", '{"q":"a"}'), ("look", '{"unreadable":"{"}'), ("nothing", "{}"),
    ]  # fmt: skip
    assert past.results[0] == "found it"
    assert past.results[1].startswith("error: the arguments are no JSON")
    assert past.results[2] == "error: there is no tool 'nothing'; there are: look"


@pytest.mark.parametrize(
    "answer",
    [
        {"calls": [], "more": 1}, {"calls": "look"}, {"calls": ["look"]}, {"calls": [{"look": {}, "again": {}}]},
        {"text": "x"},
    ],
)  # fmt: skip
def test_what_does_not_look_like_calls_is_an_answer(answer: dict[str, object]) -> None:
    text = """agent A {
        capability look(q: str) -> str readonly
        @entry flow main() -> str { return ask("a", tools: [look]) }
    }"""
    assert rehearse(apxm.compile_text(text), answers={"": answer}).value == json.dumps(answer)


def test_without_tools_calls_are_an_answer(program: apxm.Program) -> None:
    answer = {"calls": [{"look": {"q": "a"}}]}
    assert rehearse(program, topic="x", answers={"": answer}).value == json.dumps(answer)


def test_nothing_of_a_run_outlives_it() -> None:
    def runs() -> int:
        gc.collect()
        return sum(isinstance(found, Run) for found in gc.get_objects())

    program = apxm.compile_text(SOURCE, name="a.ais")
    before = runs()
    for _ in range(10):
        rehearse(program, topic="bees")
        execute_virtually(program, ScriptedBackend(), ScriptedBackend(name="nowhere"), arguments=["bees", 1])
    assert runs() <= before


FAILING = """agent A {
    @entry flow main(d: json) -> str {
        ask("number", schema: int) -> n
        print(f"{n}", d.missing)
        try { ask("caught", schema: int) -> m } catch e { print(e.kind) }
        return ask(d.other)
    }
}"""


def test_nothing_of_a_run_that_failed_does_either() -> None:
    def runs() -> int:
        gc.collect()
        return sum(isinstance(found, Run) for found in gc.get_objects())

    program = apxm.compile_text(FAILING)
    kept: list[object] = []
    before = runs()
    for _ in range(10):
        trace = execute_virtually(program, ScriptedBackend(), arguments=[{}])
        assert len(trace.failures) >= 2
        kept += trace.failures  # and nobody who has them has the run
    assert runs() <= before
