"""Calls of a model that may call tools, on virtual time: when each call is made, what the model is told, what it gets
wrong, and what a tool does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apxm.backends.dialogue import RequestedCall, Round
from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import NO_LIMITS, ModelAnswer, ModelRequest
from apxm.backends.replay import ReplayBackend
from apxm.backends.settings import OpenAISettings
from apxm.backends.simulated import SimulatedBackend
from apxm.config.journal_settings import Journaling
from apxm.errors import JournalError, OperationError
from apxm.journal.catalog import read
from apxm.journal.journal import Journal
from apxm.journal.rows import Started, header_of
from apxm.journaling import reopen
from apxm.program.program import Program
from apxm.runtime.handlers.offer import past_rounds
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import real_loop, run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.recording import Recorder
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status, Trace
from apxm.simulator.options import SimulatorOptions
from apxm.simulator.server import simulator
from apxm.testing import ScriptedBackend
from apxm.tools.simulated import ToolLatencies
from apxm.tools.toolbox import SimulatedToolbox, Toolbox
from tests.tools.scripted import MS, ScriptedToolbox, program_of

LEVELS = pytest.mark.parametrize("level", [0, 1, 2])
DECLARED = """
    capability look(q: str "what to look for", limit: int = 5) -> list[str] readonly "Looks it up."
    capability change(q: str) -> str
"""
Script = Callable[[ModelRequest], "str | ModelAnswer"]


def text_of(body: str, result: str = "str", more: str = "") -> str:
    return f"agent A {{ {DECLARED} {more} @entry flow main(x: str) -> {result} {{ {body} }} }}"


def calls(*calls: tuple[str, str], text: str = "") -> ModelAnswer:
    return ModelAnswer(text, calls=tuple(RequestedCall(f"c{k}", *call) for k, call in enumerate(calls, 1)))


def in_turn(*answers: str | ModelAnswer) -> Script:
    return lambda request: answers[len(request.rounds)]


def tools(**changed: Any) -> ScriptedToolbox:
    def look(arguments: dict[str, Any]) -> object:
        return [arguments["q"]]

    def change(arguments: dict[str, Any]) -> object:
        return f"<{arguments['q']}>"

    script: dict[str, Any] = {"look": look, "change": change, **changed}
    return ScriptedToolbox({name: (100, give) for name, give in script.items()})


def run(program: Program, script: Script, box: ScriptedToolbox, **options: Any) -> tuple[Trace, ScriptedBackend]:
    backend = ScriptedBackend(script)
    pool = BackendPool({backend.name: backend}, backend.name)
    made = Run(LoadedProgram(program), program.flows[program.entry or 0], ("x",), pool, RunOptions(**options), box)
    return run_virtually(made.execute()), backend


def sent(trace: Trace) -> list[tuple[str, float]]:
    """The operations and when they were sent, in ms, by that and their names."""
    found = [(trace.path_of(o.frame, o.node), o.attempts[-1].sent / MS) for o in trace.operations]
    return sorted(found, key=lambda each: (each[1], each[0]))


ASK = 'ask("Say " + x, tools: [look, change], max_rounds: 3, system: "s") -> answer  return answer'


@LEVELS
def test_readonly_calls_of_a_round_are_made_at_once_and_each_is_an_operation(level: int) -> None:
    box = tools()
    script = in_turn(calls(("look", '{"q": "a"}'), ("look", '{"q": "b", "limit": 2}'), text="Let me see."), "Done.")
    trace, backend = run(program_of(text_of(ASK), level), script, box)
    assert trace.value == "Done."
    assert sent(trace) == [
        ("answer[1]/ask", 0), ("answer[1]/call[1]/look", 1000), ("answer[1]/call[2]/look", 1000),
        ("answer[2]/ask", 1100),
    ]  # fmt: skip
    assert trace.duration == 2100 * MS
    first, second = (call.request for call in backend.calls)
    assert first.prompt == second.prompt == "Say x"
    assert first.system == second.system == "s"
    assert first.rounds == ()
    assert [tool.name for tool in first.tools] == ["look", "change"]
    assert first.tools == second.tools
    assert second.rounds == (
        Round(
            "Let me see.",
            (RequestedCall("c1", "look", '{"q":"a","limit":5}'), RequestedCall("c2", "look", '{"q":"b","limit":2}')),
            ('["a"]', '["b"]'),
        ),
    )


def test_a_model_is_told_of_a_tool_what_the_program_declares() -> None:
    _, backend = run(program_of(text_of(ASK)), in_turn("Done."), tools())
    look, change = backend.calls[0].request.tools
    assert (look.description, change.description) == ("Looks it up.", "")
    assert look.schema == (
        '{"type":"object","properties":{"q":{"description":"what to look for","type":"string"},'
        '"limit":{"type":"integer","default":5}},"required":["q"],"additionalProperties":false}'
    )


@LEVELS
def test_calls_that_may_change_something_are_made_in_their_order_and_before_what_follows(level: int) -> None:
    box = tools()
    script = in_turn(calls(("change", '{"q": "a"}'), ("change", '{"q": "b"}'), ("look", '{"q": "c"}')), "Done.")
    trace, _ = run(program_of(text_of(ASK.replace("return", 'change("last") return')), level), script, box)
    assert sent(trace) == [
        ("answer[1]/ask", 0), ("answer[1]/call[1]/change", 1000), ("answer[1]/call[2]/change", 1100),
        ("answer[1]/call[3]/look", 1200), ("answer[2]/ask", 1300), ("inv#1", 2300),
    ]  # fmt: skip
    assert box.log[-1] == "change['last'] at 2300"


@LEVELS
def test_a_tool_in_a_later_round_waits_for_those_before_it(level: int) -> None:
    script = in_turn(calls(("change", '{"q": "a"}')), calls(("change", '{"q": "b"}')), "Done.")
    trace, _ = run(program_of(text_of(ASK), level), script, tools())
    assert [path for path, _ in sent(trace)] == [
        "answer[1]/ask", "answer[1]/call[1]/change", "answer[2]/ask", "answer[2]/call[1]/change", "answer[3]/ask",
    ]  # fmt: skip
    assert trace.duration == 3200 * MS


WRONG = {
    "a tool that is not there": ("loook", "{}", "error: there is no tool 'loook'; there are: look, change"),
    "no JSON": ("look", '{"q": ', "error: the arguments are no JSON: Input data was truncated"),
    "no object": ("look", "[1]", "error: the arguments are no object of JSON"),
    "a number that is none of JSON": ("look", '{"q": NaN}', "error: the arguments are no JSON"),
    "an int beyond 64 bits": ("look", '{"q": 99999999999999999999999}', "error: "),
    "one that is missing": ("look", "", "error: arguments must be a {q: str, limit: int}, and arguments.q is missing"),
    "one too many": (
        "change",
        '{"q": "a", "x": 1}',
        "error: arguments must be a {q: str}, and arguments.x is no field",
    ),
    "another type": ("look", '{"q": 1}', "error: arguments must be a {q: str, limit: int}, and arguments.q is 1"),
}


@pytest.mark.parametrize(("name", "arguments", "error"), WRONG.values(), ids=WRONG)
def test_what_the_model_gets_wrong_is_told_to_it_and_counts_as_a_round(name: str, arguments: str, error: str) -> None:
    box = tools()
    trace, backend = run(program_of(text_of(ASK)), in_turn(calls((name, arguments)), "Sorry."), box)
    assert trace.value == "Sorry."
    assert box.log == []
    (result,) = backend.calls[1].request.rounds[0].results
    assert result.startswith(error)
    (call,) = backend.calls[1].request.rounds[0].calls
    assert call.tool == name
    assert call.arguments.startswith("{")  # endpoints read them again


UNDERSTOOD = {
    "capital letters": ("Look", '{"q": "a"}'),
    "a float that is whole": ("look", '{"q": "a", "limit": 5.0}'),
    "null for a default": ("look", '{"q": "a", "limit": null}'),
    "the text of a text": ("look", '"{\\"q\\": \\"a\\"}"'),
}


@pytest.mark.parametrize(("name", "arguments"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_what_the_model_means_is_understood(name: str, arguments: str) -> None:
    box = tools()
    run(program_of(text_of(ASK)), in_turn(calls((name, arguments)), "Done."), box)
    assert box.log == ["look['a', 5] at 1000"]


@LEVELS
def test_what_a_tool_gets_wrong_fails_its_operation_and_can_be_caught(level: int) -> None:
    def fail(_arguments: object) -> OperationError:
        return OperationError("tool_failed", "no")

    script = in_turn(calls(("look", '{"q": "a"}')), "Done.")
    trace, backend = run(program_of(text_of(ASK), level), script, tools(look=fail))
    assert trace.status is Status.FAILED
    assert [(f.operation, f.kind, f.where) for f in trace.failures] == [
        ("answer[1]/call[1]/look", "tool_failed", "<text>:4:37")
    ]
    assert len(backend.calls) == 1
    caught = text_of(f"try {{ {ASK} }} catch e {{ return e.kind }}")
    trace, _ = run(program_of(caught, level), script, tools(look=fail))
    assert trace.value == "tool_failed"


# --- rounds --------------------------------------------------------------------------------------------------------

AGAIN = calls(("look", '{"q": "a"}'))


def test_behind_the_last_round_the_model_is_to_answer_from_what_it_has() -> None:
    trace, backend = run(program_of(text_of(ASK)), in_turn(AGAIN, AGAIN, AGAIN, "Done."), tools())
    assert trace.value == "Done."
    assert [call.request.may_call for call in backend.calls] == [True, True, True, False]
    assert all(call.request.tools for call in backend.calls)


def test_ten_rounds_are_allowed_where_the_program_does_not_say() -> None:
    script = in_turn(*[AGAIN] * 10, "Done.")
    trace, backend = run(program_of(text_of(ASK.replace("max_rounds: 3, ", ""))), script, tools())
    assert trace.value == "Done."
    assert [call.request.may_call for call in backend.calls] == [*[True] * 10, False]


def test_a_model_that_calls_all_the_same_fails_the_call() -> None:
    trace, backend = run(program_of(text_of(ASK)), in_turn(*[AGAIN] * 4), tools())
    assert [(f.operation, f.kind, f.message) for f in trace.failures] == [
        ("answer[4]/ask", "too_many_rounds", "the model called look, and was to answer now")
    ]
    assert len(backend.calls) == 4
    assert [o.attempts[-1].answered for o in trace.operations] == [True] * 7  # and so it is paid


def test_the_first_part_of_an_answer_with_calls_comes_with_it() -> None:
    program = program_of(text_of(ASK.replace("max_rounds", "timeout_first_token: 2, max_rounds")))
    trace, _ = run(program, in_turn(AGAIN, "Done."), tools())
    assert trace.value == "Done."
    late = program_of(text_of(ASK.replace("max_rounds", "timeout_first_token: 0.5, max_rounds")))
    trace, _ = run(late, in_turn(AGAIN, "Done."), tools())
    assert [(f.operation, f.kind) for f in trace.failures] == [("answer[1]/ask", "timeout")]


def test_calls_that_nobody_offered_fail_the_call() -> None:
    trace, _ = run(program_of(text_of('ask("a") -> b  return b')), in_turn(AGAIN), tools())
    assert [f.kind for f in trace.failures] == ["too_many_rounds"]


# --- answers of a type ---------------------------------------------------------------------------------------------


@LEVELS
def test_a_typed_answer_is_read_and_repaired_as_ever(level: int) -> None:
    asked: list[ModelRequest] = []

    def script(request: ModelRequest) -> str | ModelAnswer:
        asked.append(request)
        return (AGAIN, "five", '{"answer": 5}')[len(asked) - 1]

    program = program_of(text_of('ask("a", tools: [look], schema: int) -> n  return n + 1', "int"), level)
    trace, _ = run(program, script, tools())
    assert trace.value == 6
    assert [(request.offers, request.answer is not None, len(request.rounds)) for request in asked] == [
        (True, True, 0), (True, True, 1), (False, True, 1),
    ]  # fmt: skip
    assert asked[2].prompt.startswith("a\n\nYou have answered before:\n\nfive")


def test_an_answer_is_one_of_several() -> None:
    asks = 'ask("a", tools: [look], choices: ["yes", "no"]) -> c'
    body = f'{asks} switch c {{ case "yes" => "y" case "no" => "n" }} -> r  return r'
    trace, _ = run(program_of(text_of(body)), in_turn(AGAIN, "**No**."), tools())
    assert trace.value == "n"


# --- where it stands -----------------------------------------------------------------------------------------------


@LEVELS
def test_turns_of_a_for_have_their_dialogues_beside_each_other(level: int) -> None:
    body = 'for q in ["a", "b"] { ask("Say " + q, tools: [look]) -> r  return r } -> all  return all'

    def script(request: ModelRequest) -> str | ModelAnswer:
        return f"{request.prompt}: {request.rounds[0].results[0]}" if request.rounds else AGAIN

    trace, _ = run(program_of(text_of(body, "list[str]"), level), script, tools())
    assert trace.value == ['Say a: ["a"]', 'Say b: ["a"]']
    assert sent(trace) == [
        ("all[1]/r[1]/ask", 0), ("all[2]/r[1]/ask", 0), ("all[1]/r[1]/call[1]/look", 1000),
        ("all[2]/r[1]/call[1]/look", 1000), ("all[1]/r[2]/ask", 1100), ("all[2]/r[2]/ask", 1100),
    ]  # fmt: skip
    assert trace.duration == 2100 * MS


@LEVELS
def test_a_flow_that_is_inlined_keeps_its_names(level: int) -> None:
    more = "flow inner(q: str) -> str { ask(q, tools: [look]) -> r  return r }"
    trace, _ = run(program_of(text_of("inner(x) -> a  return a", more=more), level), in_turn(AGAIN, "Done."), tools())
    assert trace.value == "Done."
    assert [path for path, _ in sent(trace)] == ["a/r[1]/ask", "a/r[1]/call[1]/look", "a/r[2]/ask"]


@pytest.mark.parametrize(
    ("argument", "offered"),
    [
        ("", ["look"]),
        (", tools: [change]", ["change"]),
        (", tools: [change, look]", ["change", "look"]),
        (", tools: []", []),
    ],
)
def test_the_tools_of_an_agent_are_the_default_of_its_asks(argument: str, offered: list[str]) -> None:
    body = f'ask("a"{argument}) -> b  think("c") -> d  return b + d'
    program = program_of(text_of(body, more="tools: [look]"))
    _, backend = run(program, lambda _: "Done.", tools())
    found = {call.request.prompt: [tool.name for tool in call.request.tools] for call in backend.calls}
    assert found == {"a": offered, "c": []}


def test_equal_dialogues_at_temperature_0_are_two() -> None:
    body = 'ask("a", tools: [look], temperature: 0) -> b  ask("a", tools: [look], temperature: 0) -> c  return b + c'
    _, backend = run(program_of(text_of(body), 2), lambda _: "Done.", tools())
    assert len(backend.calls) == 2


def test_a_chain_of_calls_is_fused_around_a_dialogue_and_not_with_it() -> None:
    body = 'ask("a") -> b  ask("Say " + b, tools: [look]) -> c  ask("Shout " + c) -> d  return d'
    _, backend = run(program_of(text_of(body), 2), lambda request: f"[{request.prompt}]", tools())
    assert backend.prompts == ["a", "Say [a]", "Shout [Say [a]]"]


def test_a_run_counts_the_dialogue_among_what_it_may_send() -> None:
    _, backend = run(program_of(text_of(ASK)), in_turn(AGAIN, "Done."), tools())
    first, second = (call.request for call in backend.calls)
    plain = ModelRequest(first.prompt, first.system)
    schemas = sum(len(tool.name + tool.schema + tool.description) for tool in first.tools)
    assert first.largest_input == plain.largest_input + schemas + 1024 + 2 * 32
    # The text beside the call, the call, and its result: each is a message or part of one.
    assert second.largest_input == first.largest_input + len('look{"q":"a","limit":5}["a"]') + 3 * 32


# --- going on ------------------------------------------------------------------------------------------------------

RUN = "20260131-235959-k3vd"
CHANGES = 'ask("Say " + x, tools: [look, change]) -> answer  return answer'
TWO_ROUNDS = in_turn(calls(("look", '{"q": "a"}'), ("change", '{"q": "b"}')), calls(("change", '{"q": "c"}')), "Done.")


def go_on(program: Program, recorder: Recorder) -> tuple[Trace, ScriptedBackend, list[str]]:
    """On real time, as a journal is written on it, with real tools."""
    log: list[str] = []

    async def look(q: str, limit: int) -> list[str]:
        log.append(f"look {q} {limit}")
        return [q]

    async def change(q: str) -> str:
        log.append(f"change {q}")
        return f"<{q}>"

    backend, box = (
        ScriptedBackend(TWO_ROUNDS, latency_ms=lambda _: 0),
        Toolbox({}).but({"look": look, "change": change}),
    )
    pool = BackendPool({backend.name: backend}, backend.name)
    made = Run(LoadedProgram(program), program.flows[program.entry or 0], ("x",), pool, RunOptions(), box)
    with asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(asyncio.wait_for(made.execute(recorder), 60)), backend, log


def killed(tmp_path: Path, program: Program, at: str) -> Journaling:
    """The journal of a run that was killed when the operation at a path had begun."""
    header = header_of(
        program, apxm="0", run_id=RUN, started=0, path="p.ais", kind="source", flow="A.main", inputs=("x",), options={}
    )
    whole = Journal.create(tmp_path / "whole", header)
    go_on(program, Recorder(whole, "0"))
    whole.close()
    rows = [record.row for record in read(tmp_path / "whole", RUN).records]
    begun = next(i for i, row in enumerate(rows) if isinstance(row, Started) and row.path == at)
    journal = Journal.create(tmp_path / "cut", header)

    async def write() -> None:
        journal.start(lambda _: None)
        for row in rows[: begun + 1]:
            journal.append(row)

    asyncio.run(write())
    journal.close()
    return Journaling(journal_dir=tmp_path / "cut")


@LEVELS
def test_a_run_that_was_killed_in_the_second_round_goes_on_there(level: int, tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    program = program_of(text_of(CHANGES), level)
    at = "answer[2]/call[1]/change"
    journaling = killed(tmp_path, program, at)
    with pytest.raises(
        JournalError, match=r"answer\[2\]/call\[1\]/change began, and the journal does not have its result"
    ):
        reopen(RUN, journaling, as_recorded=True)
    taken = reopen(RUN, journaling, as_recorded=True, redo=[at])
    trace, backend, log = go_on(taken.program, taken.recorder)
    taken.recorder.close()
    assert trace.value == "Done."
    assert trace.reused == 4  # two answers of the model, and what two tools gave in the first round
    assert [len(call.request.rounds) for call in backend.calls] == [2]
    assert log == ["change c"]


# --- what it costs -------------------------------------------------------------------------------------------------


def test_each_call_of_the_model_is_paid_out_of_the_budget_with_all_that_was_said() -> None:
    def script(request: ModelRequest) -> str | ModelAnswer:
        return "Done." if request.rounds else AGAIN

    program = program_of(text_of(ASK.replace("max_rounds", "max_tokens: 10, max_rounds")))
    _, free = run(program, script, tools())
    worst = [call.request.largest_input + 10 for call in free.calls]
    trace, backend = run(program, script, tools(), max_total_tokens=worst[1] - 1)
    assert len(backend.calls) == 1
    assert trace.status is Status.STOPPED
    trace, backend = run(program, script, tools(), max_total_tokens=worst[1] + 10)
    assert trace.value == "Done."


# --- who answers ---------------------------------------------------------------------------------------------------


def simulated(seed: int) -> list[tuple[int, list[str]]]:
    """What a simulated model calls, round by round, in twenty dialogues."""
    body = 'for n in range(20) { ask(f"Say {n}", tools: [look, change]) -> r  return r } -> all  return all'
    program = program_of(text_of(body, "list[str]"))
    backend = SimulatedBackend(seed=seed)
    box = SimulatedToolbox(ToolLatencies(), seed)
    pool = BackendPool({"simulated": backend}, "simulated")
    made = Run(LoadedProgram(program), program.flows[0], ("x",), pool, RunOptions(), box)
    trace = run_virtually(made.execute())
    assert trace.status is Status.SUCCEEDED
    paths = sorted(trace.path_of(o.frame, o.node) for o in trace.operations)
    return [
        (
            max(int(path.split("r[")[1][0]) for path in paths if path.startswith(f"all[{n}]/")) - 1,
            [path.rpartition("/")[2] for path in paths if path.startswith(f"all[{n}]/") and "call" in path],
        )
        for n in range(1, 21)
    ]


def test_a_simulated_model_calls_one_or_two_tools_in_at_most_two_rounds() -> None:
    found = simulated(0)
    assert {rounds for rounds, _ in found} == {0, 1, 2}
    assert all(rounds <= len(called) <= 2 * rounds for rounds, called in found)
    assert {tool for _, called in found for tool in called} == {"look", "change"}
    assert simulated(0) == found
    assert simulated(1) != found


def test_it_works_with_an_endpoint_that_is_simulated() -> None:
    program = program_of(text_of('ask("Say " + x, tools: [look, change], schema: int) -> n  return n', "int"))

    async def over_http() -> tuple[Trace, list[str]]:
        async with simulator(SimulatorOptions(latency="constant:1")) as address:
            settings = OpenAISettings(model="m", endpoint=address.endpoint)
            pool = BackendPool({"http": OpenAIBackend("http", settings, {})}, "http")
            box = SimulatedToolbox(ToolLatencies(0), 0)
            made = Run(LoadedProgram(program), program.flows[0], ("x",), pool, RunOptions(), box)
            trace = await asyncio.wait_for(made.execute(), 60)
            return trace, [trace.path_of(o.frame, o.node) for o in trace.operations]

    with asyncio.Runner(loop_factory=real_loop) as runner:
        trace, paths = runner.run(over_http())
    assert trace.failures == []
    assert isinstance(trace.value, int)
    assert paths == ["n[1]/ask", "n[1]/call[1]/look", "n[2]/ask"]


def test_a_recording_has_the_calls(tmp_path: Path) -> None:
    file = str(tmp_path / "answers.jsonl")
    program = program_of(text_of(ASK))
    recorded = in_turn(AGAIN, "Done.")

    class Real:
        info, limits, can_reason = ScriptedBackend().info, NO_LIMITS, False

        async def call(self, request: ModelRequest) -> ModelAnswer:
            answer = recorded(request)
            return ModelAnswer(answer) if isinstance(answer, str) else answer

        async def close(self) -> None: ...

    def replayed(of: Any) -> tuple[Any, list[str]]:
        box = tools()
        box.script = {name: (0, give) for name, (_, give) in box.script.items()}
        backend = ReplayBackend("file", file, of)
        made = Run(
            LoadedProgram(program), program.flows[0], ("x",), BackendPool({"file": backend}, "file"), RunOptions(), box
        )
        with asyncio.Runner(loop_factory=real_loop) as runner:
            trace = runner.run(asyncio.wait_for(made.execute(), 60))
            runner.run(backend.close())
        return trace.value, [call.split(" at ")[0] for call in box.log]

    assert replayed(Real()) == replayed(None) == ("Done.", ["look['a', 5]"])


@pytest.mark.parametrize("carried", [None, 1, ["x"], [{"calls": [], "results": []}], [{"text": "", "calls": [1]}]])
def test_what_an_edited_artifact_carries_as_rounds_fails_the_call(carried: Any) -> None:
    with pytest.raises(OperationError) as caught:
        past_rounds(carried)
    assert caught.value.kind == "wrong_type"
