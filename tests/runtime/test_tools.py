"""Calls of tools in a run, on virtual time: when each begins, what its failure keeps from happening, what it gives."""

from __future__ import annotations

from typing import Any

import pytest

from apxm.analysis.measure import measure
from apxm.analysis.metrics import LinkPhases
from apxm.backends.protocol import BackendInfo
from apxm.errors import OperationError
from apxm.runtime.trace import Status
from apxm.tools.simulated import ToolLatencies
from apxm.tools.tool import ToolAnswer
from apxm.tools.toolbox import SimulatedToolbox
from tests.tools.scripted import MS, ScriptedToolbox, execute, program_of

DECLARED = """
    capability look(q: str) -> str readonly
    capability change(q: str) -> str
"""
LEVELS = pytest.mark.parametrize("level", [0, 1, 2])


def failing(_arguments: dict[str, Any]) -> OperationError:
    return OperationError("tool_failed", "no")


def said(arguments: dict[str, Any]) -> str:
    return f"<{arguments['q']}>"


@LEVELS
def test_readonly_ones_run_at_once_and_others_in_the_order_of_the_text(level: int) -> None:
    tools = ScriptedToolbox({"look": (100, said), "change": (100, said)})
    text = f"""agent A {{ {DECLARED}
        @entry flow main() -> json {{
            look("a") -> a
            look("b") -> b
            change("c") -> c
            change("d") -> d
            look("e") -> e
            look("f") -> f
            return [a, b, c, d, e, f]
        }}
    }}"""
    trace = execute(program_of(text, level), tools)
    assert trace.value == [f"<{letter}>" for letter in "abcdef"]
    assert tools.log == [
        "look['a'] at 0", "look['b'] at 0", "change['c'] at 100", "change['d'] at 200", "look['e'] at 300",
        "look['f'] at 300",
    ]  # fmt: skip
    assert trace.duration == 400 * MS


@LEVELS
@pytest.mark.parametrize("first", ["look", "change"])
@pytest.mark.parametrize("second", ["look", "change"])
@pytest.mark.parametrize("where", ["here", "in a flow", "in an arm", "in another arm"])
def test_after_a_failure_the_second_does_not_happen_unless_both_only_read(
    level: int, first: str, second: str, where: str
) -> None:
    tools = ScriptedToolbox({"look": (100, said), "change": (100, said)})
    fails = "look" if first == "look" else "change"
    tools.script = {**tools.script, fails: (100, lambda a: failing(a) if a["q"] == "first" else said(a))}
    place = {
        "here": f'{second}("second") -> s  print(s)',
        "in a flow": "rest()",
        "in an arm": f'switch x {{ case "a" => {{ {second}("second") -> s  print(s) }}  default => print("none") }}',
        "in another arm": 'switch x { case "b" => { change("other") -> s  print(s) }  default => print("none") }'
        f' {second}("second") -> t  print(t)',
    }[where]
    text = f"""agent A {{ {DECLARED}
        flow rest() {{ {second}("second") -> s  print(s) }}
        @entry flow main(x: str) {{
            {first}("first") -> f
            {place}
        }}
    }}"""
    trace = execute(program_of(text, level), tools, ("a",))
    happens = first == second == "look"
    assert any("second" in line for line in tools.log) == happens
    assert ("<second>" in trace.printed) == happens
    assert [(f.kind, f.message) for f in trace.failures] == [("tool_failed", "no")]


@LEVELS
@pytest.mark.parametrize(
    "turns",
    ['for y in ["b", "a"] { ARM }', 'loop (max: 2, y: "b") { ARM  next y: "a" }'],
)
def test_a_turn_that_only_read_lets_no_later_one_past_a_failure_before_the_loop(level: int, turns: str) -> None:
    tools = ScriptedToolbox({"look": (1, lambda a: failing(a) if a["q"] == "first" else said(a)), "change": (1, said)})
    arm = 'switch y { case "a" => { change("second") -> s  print(s) }  default => { look("other") -> t  print(t) } }'
    text = f"""agent A {{ {DECLARED}
        @entry flow main() {{
            look("first") -> f
            {turns.replace("ARM", arm)}
        }}
    }}"""
    trace = execute(program_of(text, level), tools)
    assert trace.printed == ["<other>"]
    assert not any("second" in line for line in tools.log)


def test_no_pass_merges_drops_or_repeats_a_tool() -> None:
    tools = ScriptedToolbox({"look": (10, said), "change": (10, said)})
    text = f"""agent A {{ {DECLARED}
        @entry flow main() {{
            look("a") -> a
            look("a") -> b
            change("a") -> c
            change("a") -> d
        }}
    }}"""
    for level in (0, 1, 2):
        tools.log.clear()
        execute(program_of(text, level), tools)
        assert [line.partition(" ")[0] for line in tools.log] == ["look['a']"] * 2 + ["change['a']"] * 2


def test_it_waits_beside_model_calls_and_is_none_of_them() -> None:
    tools = ScriptedToolbox({"search": (250, lambda a: [a["q"]] * a["limit"])})
    text = """agent A {
        capability search(q: str, limit: int = 2) -> list[str] readonly
        @entry flow main(topic: str) -> str {
            ask("What about " + topic) -> question
            search(question) -> hits
            search("bees", limit: 1) -> more
            return ask("Sum up.", hits, more)
        }
    }"""
    trace = execute(program_of(text), tools, ("wax",), max_concurrency=1)
    assert trace.value == '[Sum up.\n\nContext 1: ["[What about wax]","[What about wax]"]\n\nContext 2: ["bees"]]'
    assert tools.log == ["search['bees', 1] at 0", "search['[What about wax]', 2] at 100"]
    assert trace.duration == 450 * MS
    metrics = measure(trace, LinkPhases(), BackendInfo("scripted", "scripted", "scripted", simulated=True))
    assert (metrics.llm.total_requests, metrics.execution.nodes_executed) == (2, 4)
    assert metrics.work_span.t1_ms == 700
    assert [step.operation for step in metrics.work_span.critical_path] == ["ask", "inv", "ask"]


@pytest.mark.parametrize(
    ("declared", "gave", "value"),
    [
        ("str", "text", "text"),
        ("float", 2, 2.0),
        ("list[float]", [1, 2.5], [1.0, 2.5]),
        ("json", {"a": [None]}, {"a": [None]}),
        ("str", ToolAnswer(text="5"), "5"),
        ("int", ToolAnswer(text="5"), 5),
        ("json", ToolAnswer(text="words"), "words"),
        ("json", ToolAnswer(text="[1]"), [1]),
        ("json", ToolAnswer(), None),
    ],
)
def test_what_it_gives_is_of_the_declared_type(declared: str, gave: object, value: object) -> None:
    tools = ScriptedToolbox({"t": (1, lambda _: gave)})
    text = f"agent A {{ capability t() -> {declared}  @entry flow main() -> {declared} {{ return t() }} }}"
    trace = execute(program_of(text), tools)
    assert trace.value == value
    assert type(trace.value) is type(value)


@pytest.mark.parametrize(
    ("declared", "gave", "message"),
    [
        ("str", 5, "what tool 't' gave must be a str, not 5"),
        ("int", "5", "what tool 't' gave must be an int, not a str"),
        ("list[str]", ["a", None], "what tool 't' gave must be a list[str], and in it [1] is None"),
        ("int", ToolAnswer(text="five"), "tool 't' gave 'five', expected the JSON of a int"),
        ("list[str]", ToolAnswer(text=""), "tool 't' gave no text, expected the JSON of a list[str]"),
        ("str", ToolAnswer(), "what tool 't' gave must be a str, not None"),
        ("json", float("nan"), "what tool 't' gave must be a JSON value of at most 200 levels, not nan"),
    ],
)
def test_a_misfit_is_a_failure_at_its_place_that_says_what_was_found(declared: str, gave: object, message: str) -> None:
    tools = ScriptedToolbox({"t": (1, lambda _: gave)})
    text = f"agent A {{ capability t() -> {declared}\n @entry flow main() -> {declared} {{ return t() }} }}"
    [failure] = execute(program_of(text), tools).failures
    assert (failure.kind, failure.message) == ("wrong_type", message)
    assert failure.where.startswith("<text>:2:")


def test_a_tool_may_give_a_record_more_fields_than_it_has() -> None:
    tools = ScriptedToolbox({"t": (1, lambda _: [{"etag": 7, "name": "a"}])})
    text = "agent A { capability t() -> list[F]  @entry flow main() -> list[F] { return t() } }"
    program = program_of("type F { name: str  size: int? }\n" + text)
    assert execute(program, tools).value == [{"name": "a", "size": None}]


def test_arguments_that_are_no_object_fail_before_it_is_called() -> None:
    tools = ScriptedToolbox({"t": (1, lambda a: a)})
    text = 'agent A { @entry flow main(given: json) -> json { return inv("t", given) } }'
    assert execute(program_of(text), tools, ({"x": 1},)).value == {"x": 1}
    [failure] = execute(program_of(text), tools, ([1],)).failures
    assert (failure.kind, failure.message) == (
        "wrong_type",
        "the arguments of tool 't' are an object, found a list of 1",
    )
    assert len(tools.log) == 1


def test_a_readonly_one_is_tried_again_as_often_as_the_program_says() -> None:
    outcomes = iter([OperationError("tool_failed", "once"), OperationError("tool_failed", "twice"), "at last"])
    tools = ScriptedToolbox({"look": (100, lambda _: next(outcomes))})
    text = f'agent A {{ {DECLARED} @entry flow main() -> str {{ return look("a", retries: 2) }} }}'
    trace = execute(program_of(text), tools)
    assert trace.value == "at last"
    [record] = trace.operations
    assert [attempt.outcome for attempt in record.attempts] == ["tool_failed", "tool_failed", "ok"]
    outcomes = iter([OperationError("tool_failed", "once"), "never"])
    text = f'agent A {{ {DECLARED} @entry flow main() -> str {{ return look("a") }} }}'
    assert execute(program_of(text), tools).failures[0].message == "once"


def test_a_time_limit_of_the_call_gives_it_up() -> None:
    tools = ScriptedToolbox({"look": (100, said)})
    text = f'agent A {{ {DECLARED} @entry flow main() -> str {{ return look("a", timeout: 0.05) }} }}'
    trace = execute(program_of(text), tools)
    assert [(f.kind, f.message) for f in trace.failures] == [("timeout", "no answer from tool 'look' within 0.05 s")]
    assert trace.duration == 50 * MS


def test_one_that_is_simulated_gives_what_is_declared_by_the_seed() -> None:
    text = """agent A {
        capability a() -> list[float] readonly
        capability b(n: int) -> str readonly
        @entry flow main() -> json {
            a() -> x
            b(1) -> y
            b(2) -> z
            b(2) -> w
            return [x, y, z, w]
        }
    }"""
    program = program_of(text)

    def given(seed: int) -> Any:
        trace = execute(program, SimulatedToolbox(ToolLatencies(named_ms={"a": 300}), seed))
        assert (trace.status, trace.duration) == (Status.SUCCEEDED, 300 * MS)
        return trace.value

    floats, first, second, again = given(1)
    assert all(isinstance(number, float) for number in floats)
    assert first != second == again
    assert given(1) == [floats, first, second, again] != given(2)


@LEVELS
@pytest.mark.parametrize("inside", ["{0}(x)", "within(x)", 'switch x {{ case "b" => {0}(x)  default => {0}(x) }}'])
def test_turns_of_a_for_keep_the_order_of_their_tools_unless_these_only_read(level: int, inside: str) -> None:
    for name, starts in (("look", [0, 0, 0]), ("change", [0, 100, 200])):
        tools = ScriptedToolbox({"look": (100, said), "change": (100, said)})
        text = f"""agent A {{ {DECLARED}
            flow within(x: str) -> str {{ return {name}(x) }}
            @entry flow main(items: list[str]) -> list[str] {{
                for x in items {{ return {inside.format(name)} }} -> all
                return all
            }}
        }}""".replace("return switch", "switch")
        trace = execute(program_of(text, level), tools, (["a", "b", "c"],))
        assert trace.value == ["<a>", "<b>", "<c>"]
        assert tools.log == [f"{name}['{x}'] at {start}" for x, start in zip("abc", starts, strict=True)]


@LEVELS
def test_after_a_turn_that_failed_no_other_changes_anything(level: int) -> None:
    tools = ScriptedToolbox({"change": (100, lambda a: failing(a) if a["q"] == "b" else said(a)), "look": (10, said)})
    text = f"""agent A {{ {DECLARED}
        @entry flow main(items: list[str]) {{
            for x in items {{
                look(x) -> seen
                print(seen)
                change(x) -> changed
                print(changed)
            }}
        }}
    }}"""
    trace = execute(program_of(text, level), tools, (["a", "b", "c"],))
    assert [line for line in tools.log if line.startswith("change")] == ["change['a'] at 10", "change['b'] at 120"]
    assert [failure.kind for failure in trace.failures] == ["tool_failed"]


def test_a_try_catches_the_failure_of_a_tool() -> None:
    tools = ScriptedToolbox({"look": (100, failing), "change": (10, said)})
    text = f"""agent A {{ {DECLARED}
        @entry flow main() -> str {{
            try {{ return look("a") }} catch e {{ return change(e.kind + " " + e.operation) }} -> x
            return x
        }}
    }}"""
    trace = execute(program_of(text), tools)
    assert (trace.status, trace.value) == (Status.SUCCEEDED, "<tool_failed x/body/inv#1>")


@LEVELS
@pytest.mark.parametrize(("items", "last"), [([], 100), (["a", "b", "c"], 200)])
@pytest.mark.parametrize("fails", [False, True])
def test_all_turns_come_behind_the_change_before_their_loop(
    level: int, items: list[str], last: int, fails: bool
) -> None:
    tools = ScriptedToolbox({"look": (100, said), "change": (100, failing if fails else said)})
    text = f"""agent A {{ {DECLARED}
        @entry flow main(xs: list[str]) -> json {{
            change("first") -> first
            for x in xs {{ look(x) -> y  return y }} -> ys
            change("last") -> z
            return [first, z, ys]
        }}
    }}"""
    execute(program_of(text, level), tools, (items,))
    looks = [f"look['{item}'] at 100" for item in items]
    assert tools.log == ["change['first'] at 0", *([] if fails else [*looks, f"change['last'] at {last}"])]


@LEVELS
@pytest.mark.parametrize(
    "text",
    [
        'if words[5] == "a" { print("x") } else if 1 > 2 { change("a") -> q  print(q) }',
        'if words[5] == "a" { never("a") } else { print("x") }',
    ],
    ids=["nested", "called"],
)
def test_a_construct_that_fails_stands_for_a_write_also_where_that_never_comes(level: int, text: str) -> None:
    tools = ScriptedToolbox({"look": (100, said), "change": (100, said)})
    program = program_of(
        f"""agent A {{ {DECLARED}
        flow never(w: str) {{ if 1 > 2 {{ change(w) -> q  print(q) }} }}
        @entry flow main(words: list[str]) -> str {{ {text}  change("b") -> r  return r }}
    }}""",
        level,
    )
    trace = execute(program, tools, [["a"]])
    assert (trace.failures[0].kind, trace.executed, trace.skipped) == ("out_of_range", 0, 1)
