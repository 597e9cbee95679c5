"""Programs with answers of a type against the simulator over HTTP: each way to miss a type, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import SCHEMA_REFUSED
from apxm.backends.settings import OpenAISettings
from apxm.backends.simulated import SimulatedBackend
from apxm.compiler.pipeline import compile_source
from apxm.operations.answers import UNFIT
from apxm.operations.types import INT, STR, VERDICT, RecordField, Type, Value, conforms, list_of, record_of
from apxm.program.nodes import Operate
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.source import SourceFile
from tests.plans import ask, give, plan, program
from tests.simulator.conftest import Serve
from tests.simulator.serving import Served, chat, post

PERSON = record_of("Person", [RecordField("name", STR, "as written"), RecordField("tags", list_of(STR), "", "[]")])
PEOPLE = list_of(PERSON)


def typed(result: Type, **options: Any) -> Operate:
    node = ask("Who?", **options)
    return Operate(operation="ask", arguments=node.arguments, options=node.options, result=str(result))


def asking(result: Type, **options: Any) -> Program:
    made = program(plan(typed(result, **options), give(0)))
    return Program(**{name: getattr(made, name) for name in made.__struct_fields__} | {"records": (PERSON,)})


def run(served: Served, p: Program, **settings: Any) -> Trace:
    backend = OpenAIBackend("b", OpenAISettings(model="m", endpoint=served.listening.endpoint, **settings), {})
    pool = BackendPool({"b": backend}, "b")
    return served.run(Run(LoadedProgram(p), p.flows[0], (), pool, RunOptions()).execute())


def outcomes(trace: Trace) -> list[str]:
    return [attempt.outcome for record in trace.operations for attempt in record.attempts]


@pytest.mark.parametrize("expected", [PERSON, PEOPLE, INT])
def test_an_answer_has_its_type_and_is_the_one_given_in_process(serve: Serve, expected: Type) -> None:
    value = run(serve(seed=7), asking(expected)).value
    assert conforms(value, expected)
    p = asking(expected)
    pool = BackendPool({"b": SimulatedBackend(model="m", seed=7)}, "b")
    assert run_virtually(Run(LoadedProgram(p), p.flows[0], (), pool).execute()).value == value


def test_it_is_drawn_by_the_seed(serve: Serve) -> None:
    first, other = serve(seed=1), serve(seed=2)
    assert run(first, asking(PEOPLE)).value == run(first, asking(PEOPLE)).value
    assert run(first, asking(PEOPLE)).value != run(other, asking(PEOPLE)).value


def test_a_choice_is_one_of_its_labels(serve: Serve) -> None:
    values = {run(serve(seed=seed), asking(STR, choices=["Yes", "No"])).value for seed in range(6)}
    assert values == {"Yes", "No"}


@pytest.mark.parametrize("fault", ["fence", "prose"])
def test_what_is_around_an_answer_costs_nothing(serve: Serve, fault: str) -> None:
    sound = run(serve(), asking(PEOPLE)).value
    trace = run(serve(faults=f"{fault}:1"), asking(PEOPLE))
    assert (trace.value, outcomes(trace)) == (sound, ["ok"])


@pytest.mark.parametrize("fault", ["wrong_type", "unshaped"])
def test_what_does_not_fit_is_repaired_once(serve: Serve, fault: str) -> None:
    trace = run(serve(faults=f"{fault}:@1"), asking(PEOPLE))
    assert conforms(trace.value, PEOPLE)
    assert outcomes(trace) == [UNFIT, "ok"]
    first, second = trace.operations[0].attempts
    assert first.usage.total
    assert second.usage.total
    assert (second.usage.input_tokens or 0) > (first.usage.input_tokens or 0)


@pytest.mark.parametrize(
    ("fault", "kind", "asked", "message"),
    [
        ("wrong_type", UNFIT, [UNFIT, UNFIT], "expected a Person, and the value.name is 0"),
        ("unshaped", UNFIT, [UNFIT, UNFIT], 'expected JSON of the type Person, found "Simulated answer'),
        ("cut_off", UNFIT, [UNFIT], "it was cut off by a limit of tokens, and a larger max_tokens leaves room for all"),
        ("refusal", "refused", ["refused"], "the model refused: I cannot help with that."),
    ],
)
def test_what_stays_unfit_is_named(serve: Serve, fault: str, kind: str, asked: list[str], message: str) -> None:
    trace = run(serve(faults=f"{fault}:1"), asking(PERSON))
    (failed,) = trace.failures
    assert (failed.kind, outcomes(trace)) == (kind, asked)
    assert message in failed.message


def test_a_limit_of_tokens_that_cuts_an_answer_is_named(serve: Serve) -> None:
    (failed,) = run(serve(), asking(PEOPLE, max_tokens=3)).failures
    assert failed.kind == UNFIT
    assert "a larger max_tokens" in failed.message


def test_an_endpoint_that_takes_no_schema_is_told_in_words(serve: Serve) -> None:
    served = serve(faults="no_format:1")
    first, second = run(served, asking(PEOPLE)), run(served, asking(PEOPLE))
    assert conforms(first.value, PEOPLE)
    assert first.failed == 0
    assert (outcomes(first), outcomes(second)) == ([SCHEMA_REFUSED, "ok"], ["ok"])
    assert outcomes(run(served, asking(PERSON), structured="instruction")) == ["ok"]
    (failed,) = run(served, asking(PERSON), structured="schema").failures
    assert failed.kind == "http_status"


def test_a_fan_out_at_such_an_endpoint_fails_nowhere(serve: Serve) -> None:
    served = serve(faults="no_format:1")
    made = asking(PERSON)
    nodes = [typed(PERSON) for _ in range(20)]
    wide = program(plan(*nodes, give(0)))
    p = Program(**{name: getattr(wide, name) for name in wide.__struct_fields__} | {"records": made.records})
    trace = run(served, p, retries=0)
    assert (trace.failed, len(trace.operations)) == (0, 20)
    assert set(outcomes(trace)) <= {SCHEMA_REFUSED, "ok"}


TICKET = """
type Ticket { title: str "a few words"  urgent: bool  tags: list[str] = []  owner: str? }
agent A {
    @entry flow main(text: str) -> json {
        ask("Read it.", text, schema: Ticket) -> ticket
        ask("Which team?", ticket, choices: ["billing", "tech"]) -> team
        switch team {
            case "billing" => ask("Bill it.", ticket)
            case "tech"    => ask("Repair it.", ticket)
        } -> done
        verify("It is done.", done) -> verdict
        return [ticket, team, done, verdict]
    }
}
"""


@pytest.mark.parametrize("faults", ["none", "fence:0.5,prose:0.5", "unshaped:@1", "no_format:1"])
def test_a_program_gets_the_same_whatever_its_answers_look_like(serve: Serve, faults: str) -> None:
    p = compile_source(SourceFile("test.ais", TICKET)).program

    def values(spec: str) -> Value:
        served = serve(faults=spec)
        backend = OpenAIBackend("b", OpenAISettings(model="m", endpoint=served.listening.endpoint), {})
        made = Run(LoadedProgram(p), p.flows[0], ("My bill is wrong.",), BackendPool({"b": backend}, "b"))
        trace = served.run(made.execute())
        assert not trace.failures
        return trace.value

    ticket, team, _, verdict = found = values(faults)
    assert [*ticket] == ["title", "urgent", "tags", "owner"]
    assert team in ("billing", "tech")
    assert conforms(verdict, VERDICT)
    if faults.startswith("fence"):
        assert found == values("none")


# --- what other clients get ----------------------------------------------------------------------------------------

SHAPED = {"type": "json_schema", "json_schema": {"name": "n", "schema": json.loads('{"type": "integer"}')}}


def test_a_refusal_is_one_to_every_client(serve: Serve) -> None:
    served = serve(faults="refusal:1")
    (choice,) = served.ask(chat(response_format=SHAPED)).json["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "stop")
    assert choice["message"]["refusal"] == "I cannot help with that."
    *chunks, done = served.ask(chat(stream=True, response_format=SHAPED)).events
    assert chunks[0]["choices"][0]["delta"]["refusal"] == "I cannot help with that."
    assert (chunks[-1]["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
    wanted = {"format": {"type": "json_schema", "name": "n", "schema": {"type": "integer"}}}
    answer = served.ask(post("/v1/responses", json.dumps({"input": "Hello", "text": wanted}))).json
    assert answer["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot help with that."}]


def test_a_format_is_refused_as_others_refuse_it(serve: Serve) -> None:
    answer = serve(faults="no_format:1").ask(chat(response_format=SHAPED))
    assert (answer.status, answer.json["error"]["param"]) == (400, "response_format")


@pytest.mark.parametrize("rate", [None, 100_000.0], ids=["whole", "paced"])
def test_what_is_cut_off_ends_as_a_limit_ends_it(serve: Serve, rate: float | None) -> None:
    served = serve(faults="cut_off:1", tokens_per_second=rate)
    (choice,) = served.ask(chat(response_format=SHAPED)).json["choices"]
    assert choice["finish_reason"] == "length"
    *chunks, _ = served.ask(chat(stream=True, response_format=SHAPED)).events
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == choice["message"]["content"]
