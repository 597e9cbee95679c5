"""Calls of a model that may call tools, which run in lanes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest

from apxm.backends.protocol import ModelRequest
from apxm.errors import ConfigurationError, JournalError, OperationError, UsageError
from apxm.flows.asking import ask
from apxm.flows.flow import each, flow
from apxm.lanes.marks import tool
from apxm.lanes.run import Grown, LaneRun
from apxm.runtime.limits import BackendPool
from apxm.tools.toolbox import NO_TOOLS, Toolbox
from tests.lanes.talking import SECOND, Talking, talk, told

Said = str | Sequence[tuple[str, str]]


def calling(*calls: tuple[str, str]) -> Callable[[ModelRequest], Said]:
    """A model that makes these calls, and then says what it was told."""

    def say(request: ModelRequest) -> Said:
        return str(told(request)) if request.rounds or not request.tools else calls

    return say


@tool(readonly=True)
def lookup(q: Annotated[str, "what to look for"], limit: int = 2) -> list[str]:
    """Looks something up."""
    return [f"{q} {k}" for k in range(limit)]


def test_a_model_is_told_the_signature_and_the_docstring() -> None:
    backend = Talking(calling(("lookup", '{"q": "bees"}')))
    run, trace = talk(lambda: ask("?", tools=[lookup]), backend)
    (offered,) = backend.asked[0].tools
    assert (offered.name, offered.description) == ("lookup", "Looks something up.")
    assert json.loads(offered.schema) == {
        "type": "object",
        "properties": {
            "q": {"description": "what to look for", "type": "string"},
            "limit": {"type": "integer", "default": 2},
        },
        "required": ["q"],
        "additionalProperties": False,
    }
    assert run.value == '[\'["bees 0","bees 1"]\']'
    assert [call.arguments for call in backend.asked[1].rounds[0].calls] == ['{"q":"bees","limit":2}']
    assert trace.duration == 2 * SECOND


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("lokup", "{}", "error: there is no tool 'lokup'; there are: lookup"),
        ("lookup", "{", "error: the arguments are no JSON: Input data was truncated"),
        ("lookup", "[]", "error: the arguments are no object of JSON"),
        ("lookup", "{}", "error: Object missing required field `q`"),
        ("lookup", '{"q": [1]}', "error: Expected `str`, got `array` - at `$.q`"),
        ("lookup", '{"q": "a", "deep": 1}', "error: Object contains unknown field `deep`"),
    ],
)
def test_what_the_model_gets_wrong_it_is_told(name: str, arguments: str, error: str) -> None:
    backend = Talking(calling((name, arguments)))
    talk(lambda: ask("?", tools=[lookup]), backend)
    assert told(backend.asked[1]) == [error]


@pytest.mark.parametrize(
    ("name", "arguments"), [("LOOKUP", '{"q": "a"}'), ("lookup", '{"q": "a", "limit": 2.0}'),
                            ("lookup", '{"q": "a", "limit": null}'), ("lookup", '"{\\"q\\": \\"a\\"}"')]
)  # fmt: skip
def test_small_slips_are_understood(name: str, arguments: str) -> None:
    backend = Talking(calling((name, arguments)))
    talk(lambda: ask("?", tools=[lookup]), backend)
    assert told(backend.asked[1]) == ['["a 0","a 1"]']


def test_calls_that_only_read_overlap_and_others_happen_in_order() -> None:
    order: list[str] = []

    @tool(readonly=True)
    def slow(q: str) -> str:
        return ask(q)

    def sent(q: str) -> str:
        order.append(q)
        return ask(q)

    backend = Talking(calling(("slow", '{"q": "a"}'), ("slow", '{"q": "b"}')))
    assert talk(lambda: ask("?", tools=[slow]), backend)[1].duration == 3 * SECOND
    backend = Talking(calling(("sent", '{"q": "a"}'), ("sent", '{"q": "b"}')))
    assert talk(lambda: ask("?", tools=[sent]), backend)[1].duration == 4 * SECOND
    assert order == ["a", "b"]


@flow
def agents(rows: list[str], tools: list[Any]) -> list[str]:
    return [ask(row, tools=tools) for row in each(rows)]


def test_iterations_overlap_with_tools_that_only_read() -> None:
    backend = Talking(calling(("lookup", '{"q": "a"}')))
    run, trace = talk(lambda: agents.lanes(["a", "b", "c"], [lookup]), backend)
    assert (len(backend.asked), trace.duration) == (6, 2 * SECOND)
    assert run.value == ['[\'["a 0","a 1"]\']'] * 3


def test_the_paths_of_what_a_tool_asks_are_behind_those_of_its_call() -> None:
    @tool(readonly=True)
    def inner(q: str) -> str:
        return ask(q)

    backend = Talking(calling(("inner", '{"q": "a"}'), ("inner", '{"q": "b"}')))
    _, trace = talk(lambda: agents.lanes(["x"], [inner]), backend)
    line = agents.function.__code__.co_firstlineno + 2
    name = "test_the_paths_of_what_a_tool_asks_are_behind_those_of_its_call.<locals>.inner"
    first = inner.__code__.co_firstlineno + 2
    assert [trace.path_of(each.frame, each.node) for each in trace.operations] == [
        f"agents:{line}[0]",
        f"agents:{line}[0]/call[0]/{name}:{first}",
        f"agents:{line}[0]/call[1]/{name}:{first}",
        f"agents:{line}[0]#2",
    ]


def test_what_a_tool_raises_is_raised_where_the_model_was_asked() -> None:
    def broken(q: str) -> str:
        raise KeyError(q)

    def main() -> str:
        try:
            return ask("?", tools=[broken])
        except KeyError as error:
            return f"caught {error}"

    assert talk(main, Talking(calling(("broken", '{"q": "a"}'))))[0].value == "caught 'a'"


def test_an_async_tool_runs_in_the_loop_of_the_run() -> None:
    async def later(q: str) -> str:
        await asyncio.sleep(5)
        return q.upper()

    run, trace = talk(lambda: ask("?", tools=[later]), Talking(calling(("later", '{"q": "a"}'))))
    assert (run.value, trace.duration) == ("['A']", 7 * SECOND)


def test_the_last_round_is_told_that_it_is() -> None:
    backend = Talking(lambda request: [("lookup", '{"q": "a"}')] if request.may_call else "enough")
    assert talk(lambda: ask("?", tools=[lookup], max_rounds=3), backend)[0].value == "enough"
    assert [request.may_call for request in backend.asked] == [True, True, True, False]
    backend = Talking(lambda _: [("lookup", '{"q": "a"}')])
    with pytest.raises(OperationError, match="the model called lookup, and was to answer now"):
        talk(lambda: ask("?", tools=[lookup], max_rounds=1), backend)


@dataclass
class Person:
    name: str
    age: int = 0


def test_arguments_and_answers_are_objects_of_classes() -> None:
    @tool(readonly=True)
    def older(person: Person) -> Person:
        return Person(person.name, person.age + 1)

    def say(request: ModelRequest) -> Said:
        return told(request)[0] if request.rounds else [("older", '{"person": {"name": "Ada"}}')]

    assert talk(lambda: ask("?", tools=[older], schema=Person), Talking(say))[0].value == Person("Ada", 1)


def test_a_method_is_a_tool_of_its_object() -> None:
    class Store:
        def __init__(self) -> None:
            self.kept: list[str] = []

        def keep(self, text: str) -> int:
            self.kept.append(text)
            return len(self.kept)

    store = Store()
    backend = Talking(calling(("keep", '{"text": "a"}'), ("keep", '{"text": "b"}')))
    assert talk(lambda: ask("?", tools=[store.keep]), backend)[0].value == "['1', '2']"
    assert store.kept == ["a", "b"]


def test_a_call_with_tools_in_a_straight_line_is_made_where_it_stands() -> None:
    done: list[str] = []

    def act() -> str:
        done.append("act")
        return ""

    def say(request: ModelRequest) -> Said:
        if request.prompt == "bad":
            raise OSError("no model")
        return calling(("act", "{}"))(request)

    @flow
    def straight() -> str:
        first = ask("bad")
        second = ask("?", tools=[act])
        return first + second

    with pytest.raises(OperationError):
        talk(straight.lanes, Talking(say))
    assert done == []


# --- what is refused ---------------------------------------------------------------------------------------------


def with_positions(a: int, /) -> int:
    return a


def with_many(*a: int) -> int:
    return len(a)


class Opaque: ...


def with_opaque(a: Opaque) -> None:
    del a


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, number: int) -> int:
        return number

    def __repr__(self) -> str:
        return "Unhashable()"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([Unhashable()], r"Unhashable\(\) in tools= is no tool"),
        ([partial(max, 1)], "the tool 'partial' does not say what it takes"),
        ([with_positions], "the tool 'with_positions' has the positional-only parameter 'a'"),
        ([with_many], "the tool 'with_many' has the variadic positional parameter 'a'"),
        ([with_opaque], "the tool 'with_opaque' takes what no model can give"),
        ([lambda: 1], "'<lambda>' is no name of a tool"),
        ([lookup, lookup], "two tools are called 'lookup'"),
        ([3], "3 in tools= is no tool"),
        ("lookup", "tools= is a list of functions and names, not a str"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_before_anything_is_asked(tools: Any, said: str) -> None:
    backend = Talking(lambda _: "")
    with pytest.raises(UsageError, match=said.replace("*", r"\*")):
        talk(lambda: ask("?", tools=tools), backend)
    assert backend.asked == []


def test_a_tool_that_gives_what_no_model_can_be_told_says_so() -> None:
    def opaque() -> object:
        return Opaque()

    with pytest.raises(UsageError, match="what the tool 'opaque' gave is nothing that a model can be told"):
        talk(lambda: ask("?", tools=[opaque]), Talking(calling(("opaque", "{}"))))


@pytest.mark.parametrize("rounds", [0, "2", True])
def test_rounds_are_a_number(rounds: Any) -> None:
    with pytest.raises(UsageError, match="max_rounds="):
        talk(lambda: ask("?", tools=[lookup], max_rounds=rounds), Talking(lambda _: ""))


# --- configured ones ---------------------------------------------------------------------------------------------


def test_a_configured_tool_is_called_by_its_name() -> None:
    def search(q: str) -> list[str]:
        """Searches."""
        return [q, q]

    backend = Talking(calling(("search", '{"q": "a"}')))
    toolbox = NO_TOOLS.but({"search": search})
    result = real(lambda: ask("?", tools=["search"]), backend, toolbox)
    assert result == '[\'["a","a"]\']'
    assert backend.asked[0].tools[0].description == "Searches."


def test_one_that_is_not_configured_is_refused_before_anything_is_asked() -> None:
    backend = Talking(lambda _: "")
    with pytest.raises(ConfigurationError, match="tool 'search': it is not configured"):
        real(lambda: ask("?", tools=["search"]), backend, NO_TOOLS)
    assert backend.asked == []


def real(main: Callable[[], object], backend: Talking, tools: Toolbox) -> object:
    """As `talk`, on real time, which tools that are configured need."""
    run = LaneRun(Grown("main", "main.py"), main, BackendPool({"talking": backend}, "talking"), tools=tools)
    asyncio.run(run.execute())
    if run.raised is not None:
        raise run.raised
    return run.value


# --- the journal -------------------------------------------------------------------------------------------------

CALLED: list[str] = []


def noted(q: str) -> str:
    CALLED.append(q)
    return q


@flow
def kept(rows: list[str]) -> list[str]:
    return [ask(row, tools=[noted]) for row in each(rows)]


def test_a_run_that_goes_on_calls_no_tool_again(tmp_path: Path) -> None:
    CALLED.clear()
    program = kept.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    rows = [f"row {k}" for k in range(6)]
    result = program.run(rows)
    called = list(CALLED)
    assert called
    again = program.resume(result.run_id, rows)
    assert (again.value, CALLED) == (result.value, called)
    assert again.metrics.llm.total_requests == 0


def broken(q: str) -> str:
    CALLED.append(q)
    if len(CALLED) == 1:
        raise OSError("the line is dead")
    return q


@flow
def breaking() -> str:
    return ask("row 1", tools=[broken])


def test_of_a_tool_that_began_and_did_not_end_somebody_has_to_say_what_became(tmp_path: Path) -> None:
    CALLED.clear()
    program = breaking.using(backend="simulated", latency="constant:1", journal=True, journal_dir=tmp_path)
    with pytest.raises(OSError, match="dead") as failed:
        program.run()
    run = failed.value.__notes__[0].split()[1].rstrip(":")
    line = breaking.function.__code__.co_firstlineno + 2
    path = f"breaking:{line}/call[0]/broken"
    with pytest.raises(JournalError, match="began, and the journal does not have its result") as unknown:
        program.resume(run)
    assert path in str(unknown.value)
    assert program.using(redo=[path]).resume(run).value
    assert len(CALLED) > 1
