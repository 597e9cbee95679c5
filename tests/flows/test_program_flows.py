"""Flows of AIS as functions of Python: part of the run of a flow that calls them, and runs of their own elsewhere."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apxm import api
from apxm.analysis.work_span import longest_path
from apxm.backends.protocol import ModelRequest
from apxm.errors import ConfigurationError, JournalError, LinkError, OperationError, UsageError
from apxm.flows.asking import ask
from apxm.flows.each import each
from apxm.flows.flow import flow
from apxm.lanes.marks import thread, tool
from tests.lanes.talking import SECOND, Talking, talk

DIAMOND = api.compile_text(
    """
agent A {
    @entry flow main(topic: str, depth: int = 1) -> str {
        ask("for " + topic + " " + depth) -> a
        ask("against " + topic) -> b
        print("asked", topic)
        ask("weigh", a, b) -> c
        return c
    }
    flow fails(topic: str) -> str {
        ask("bad " + topic) -> a
        return a
    }
    flow quiet() {
        print("nothing more")
    }
    flow turns(items: list[str]) -> list[str] {
        for item in items {
            ask("item " + item) -> a
            return a
        } -> found
        try {
            ask("bad") -> d
            print(d)
        } catch e {
            print("caught")
        }
        return found
    }
}
"""
)
main, fails, quiet, turns = (DIAMOND.flow(name) for name in ("main", "fails", "quiet", "turns"))


def say(request: ModelRequest) -> str:
    if request.prompt.startswith("bad"):
        raise OSError("no model")
    return request.prompt.split("\n")[0]


def test_a_flow_is_part_of_the_run_that_calls_it() -> None:
    @flow
    def around(topics: list[str]) -> list[str]:
        found: list[str] = []
        for topic in each(topics):
            first = ask(f"before {topic}")
            found.append(ask("after", first, main(topic)))
        return found

    backend = Talking(say)
    run, trace = talk(lambda: around.lanes(["bees", "ants"]), backend)
    assert run.value == ["after", "after"]
    assert (len(backend.asked), trace.duration) == (10, 4 * SECOND)
    line = around.function.__code__.co_firstlineno + 5
    name = "test_a_flow_is_part_of_the_run_that_calls_it.<locals>.around"
    paths = {trace.path_of(each.frame, each.node) for each in trace.operations}
    assert {path for path in paths if "[1]" in path} == {
        f"{name}:{line - 1}[1]",
        f"{name}:{line}[1]/a",
        f"{name}:{line}[1]/b",
        f"{name}:{line}[1]/c",
        f"{name}:{line}[1]#2",
    }


def test_what_comes_behind_it_comes_behind_all_of_it() -> None:
    @flow
    def around() -> str:
        main("bees")
        return ask("after")

    _, trace = talk(around.lanes, Talking(say))
    assert trace.duration == longest_path(trace).length == 3 * SECOND


def test_its_output_comes_at_the_turn_of_its_lane(capsys: pytest.CaptureFixture[str]) -> None:
    @flow
    def around(topics: list[str]) -> None:
        for topic in each(topics):
            if topic == "bees":
                ask("slow")
                ask("slower")
                ask("slowest")
            main(topic)
            print("done", topic)

    talk(lambda: around.lanes(["bees", "ants"]), Talking(say))
    assert capsys.readouterr().out == "asked bees\ndone bees\nasked ants\ndone ants\n"


def test_turns_and_failures_that_are_caught_inside_are_as_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    run, trace = talk(lambda: turns(["a", "b"]), Talking(say))
    assert (run.value, capsys.readouterr().out) == (["item a", "item b"], "caught\n")
    assert [(failure.kind, failure.where) for failure in trace.caught] == [("backend_defect", "<text>:23:13")]
    assert (trace.failures, trace.duration) == ([], SECOND)


def test_its_failure_is_raised_where_it_is_called() -> None:
    def caught() -> Any:
        try:
            return fails("bees")
        except OperationError as error:
            return error.kind, error.where

    run, trace = talk(caught, Talking(say))
    assert run.value == ("backend_defect", "<text>:11:9")
    assert (trace.failed, trace.failures) == (1, [])
    with pytest.raises(OperationError, match="no model"):
        talk(lambda: fails("bees"), Talking(say))


def test_one_without_a_result_gives_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert talk(lambda: [quiet(), quiet()], Talking(say))[0].value == [None, None]
    assert capsys.readouterr().out == "nothing more\nnothing more\n"


def test_what_an_iteration_leaves_behind_ends_flows_that_run_ahead() -> None:
    @flow
    def searching(topics: list[str]) -> str:
        for topic in each(topics, lookahead=3):
            if ask(topic) == "b":
                return topic
            main(topic)
            turns(["x", "y"])
        return ""

    backend = Talking(say)
    run, trace = talk(lambda: searching.lanes(["a", "b", "c", "d"]), backend)
    assert (run.value, len(backend.asked)) == ("b", 4 + 3 * (3 + 3))
    outcomes = Counter(attempt.outcome for each in trace.operations for attempt in each.attempts)
    assert (trace.duration, outcomes) == (4 * SECOND, {"ok": 4 + 3 * 3 + 2, "backend_defect": 3, "cancelled": 4})


# --- arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named", "said"),
    [
        ((), {}, "main needs a value for topic: str"),
        (("a", 1, 2), {}, "main takes 2 values, and 3 were given"),
        (("a",), {"dept": 1}, "main has no parameter called 'dept'"),
        ((["a"],), {}, "topic must be a str, not a list of 1"),
    ],
)
def test_arguments_that_it_does_not_take_are_refused(arguments: Any, named: Any, said: str) -> None:
    for call in (lambda: talk(lambda: main(*arguments, **named), Talking(say)), lambda: main(*arguments, **named)):
        with pytest.raises(UsageError) as refused:
            call()
        assert said in str(refused.value)


def test_a_flow_that_the_program_does_not_have() -> None:
    with pytest.raises(UsageError, match="this program has no flow called 'mian'"):
        DIAMOND.flow("mian")


# --- tools of the module -------------------------------------------------------------------------------------------

CALLED: list[str] = []


@tool
def note(text: str) -> str:
    CALLED.append(text)
    return text


@tool(readonly=True)
def look(q: str) -> str:
    return q.upper()


TOOLS = api.compile_text(
    """
agent A {
    capability note(text: str) -> str;
    capability look(q: str) -> str readonly;
    @entry flow main(topic: str) -> str {
        look(topic) -> found
        note(found) -> kept
        ask("?", kept) -> a
        return a
    }
}
"""
)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration and no key, so that the simulated model answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    CALLED.clear()


@pytest.mark.usefixtures("nowhere")
def test_functions_of_the_module_are_tools_of_its_programs() -> None:
    assert api.run(TOOLS, topic="bees").value
    assert CALLED == ["BEES"]
    assert TOOLS.flow()("ants")
    assert CALLED == ["BEES", "ANTS"]


@pytest.mark.usefixtures("nowhere")
def test_functions_that_are_given_go_before_them() -> None:
    @tool(name="note")
    def other(text: str) -> str:
        return text * 2

    assert "BEESBEES" in str(api.run(TOOLS, topic="bees", tools=[other]).value)
    assert CALLED == []


@tool
def ponder(text: str) -> str:
    """Asks a model itself."""
    return ask(f"ponder {text}")


PONDERING = api.compile_text(
    """
agent A {
    capability ponder(text: str) -> str
    @entry flow main(topic: str) -> str {
        ponder(topic) -> first
        ponder(first) -> second
        return second
    }
}
"""
)


@flow
def pondering(topics: list[str]) -> list[str]:
    return [PONDERING.flow()(ask(topic)) for topic in each(topics)]


@pytest.mark.usefixtures("nowhere")
def test_what_a_tool_asks_that_a_lane_had_called_is_a_run_of_its_own() -> None:
    """Its thread has the context of the run, and none of the lane's: there a call would be one of that lane."""
    found = pondering.run(["bees", "ants"]).value
    assert all("ponder Simulated answer" in text for text in found)


def test_a_function_that_does_not_fit_its_declaration_is_refused() -> None:
    program = api.compile_text(
        'agent A { capability note(words: list[str]) -> str; @entry flow main() -> str { note(["a"]) -> n return n } }'
    )
    with pytest.raises(LinkError, match="tool 'note': it has no parameter 'words'"):
        api.run(program, backend="simulated")


@flow
def noting(topics: list[str]) -> list[str]:
    return [TOOLS.flow()(topic) for topic in each(topics)]


@pytest.mark.usefixtures("nowhere")
def test_in_a_flow_they_are_called_in_the_order_of_the_program() -> None:
    assert len(noting(["a", "b", "c"])) == 3
    assert CALLED == ["A", "B", "C"]


# --- the journal -------------------------------------------------------------------------------------------------


@flow
def journaled(topics: list[str], extra: str = "") -> list[str]:
    return [ask("after", main(topic + extra)) for topic in each(topics)]


def test_a_run_goes_on_inside_of_it(tmp_path: Path) -> None:
    program = journaled.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    result = program.run(["a", "b"])
    again = program.resume(result.run_id, ["a", "b"])
    assert (again.value, again.trace.reused, again.metrics.llm.total_requests) == (result.value, 8, 0)
    with pytest.raises(JournalError, match=r"took another way at journaled:\d+\[0\]/"):
        program.resume(result.run_id, ["a", "b"], extra="!")
    changed = program.using(as_changed=True).resume(result.run_id, ["a", "b", "c"])
    assert (changed.trace.reused, changed.metrics.llm.total_requests) == (8, 4)


# --- elsewhere ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nowhere")
def test_outside_of_a_flow_it_is_a_run_of_its_own() -> None:
    assert main("bees", depth=2)
    found: list[str] = []
    other = threading.Thread(target=lambda: found.append(main("bees")))
    other.start()
    other.join()
    assert len(found) == 1


@flow
def threaded() -> str:
    return thread(main, "bees")


@pytest.mark.usefixtures("nowhere")
def test_in_a_thread_of_a_flow_it_is_a_run_of_its_own() -> None:
    assert threaded.run().metrics.llm.total_requests == 0


def test_a_tool_that_is_missing_is_told_where_the_flow_is_called() -> None:
    program = api.compile_text(
        'agent A { capability gone(q: str) -> str; @entry flow main() -> str { gone("a") -> n return n } }'
    )

    def called() -> str:
        try:
            return program.flow()()
        except ConfigurationError as error:
            return error.message

    assert talk(called, Talking(say))[0].value == "tool 'gone': it is not configured ([tools.gone] sets it up)"
