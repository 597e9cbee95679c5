"""What is said of a flow before any run."""

from __future__ import annotations

from math import ceil
from random import Random

import pytest

from apxm.analysis.predict import Predictor
from apxm.analysis.profile import Profile
from apxm.analysis.specified import specified_profile
from apxm.analysis.static import Analysis, Range, analyze
from apxm.analysis.work_span import longest_path, work
from apxm.backends.settings import SimulatedSettings
from apxm.compiler.pipeline import compile_source
from apxm.operations.catalog import OPERATIONS
from apxm.operations.schemas import answer_format
from apxm.operations.types import STR, VERDICT, Value
from apxm.program.program import Program
from apxm.source import SourceFile
from tests.analysis.endpoints import profile
from tests.random_plans import random_program


def compiled(text: str, level: int = 1) -> Program:
    return compile_source(SourceFile("test.ais", text), level=level).program


def analyzed(text: str, known: Profile | None = None, level: int = 1, **given: Value) -> Analysis:
    p = compiled(text, level)
    return analyze(p, p.flows[0], (1, 2), known, given)


FAN_OUT = """
agent A {
    flow main() -> str {
        ask("one") -> a
        think("two") -> b
        merge(a, b) -> both
        return ask("three", both)
    }
}
"""

BRANCHES = """
agent A {
    flow main(topic: str) -> str {
        ask("Which? " + topic) -> kind
        ask("Background") -> background
        switch kind {
            case "long" => deep(background)
            case "short" => ask("Brief", retries: 2)
            default => "none"
        } -> x
        return x
    }
    flow deep(text: str) -> str {
        ask("Go deep", text) -> a
        return ask("Deeper", a)
    }
}
"""


def test_a_flow_without_branches_has_one_work_and_one_span() -> None:
    found = analyzed(FAN_OUT)
    assert found.t1_ms == Range(5000, 5000, 5000)
    assert found.t_inf_ms == Range(4000, 4000, 4000)
    assert found.parallelism == 1.25
    assert found.calls == Range(3, 3, 3)
    assert (
        found.latencies
        == "assumed: ask 1,000 ms, think 3,000 ms, reason 2,000 ms, plan 2,000 ms, verify 1,000 ms, reflect 1,000 ms"
    )


def test_the_critical_path_leads_through_the_source() -> None:
    path = analyzed(FAN_OUT).critical_path
    assert [(step.operation, step.where, step.duration_ms) for step in path] == [
        ("think", "test.ais:5:9", 3000),
        ("merge", "test.ais:6:9", 0),
        ("ask", "test.ais:7:16", 1000),
    ]


def test_with_an_engine_work_and_span_are_those_of_tokens() -> None:
    """Prompts of 10 and of 100 tokens and what is around them; the second call's holds the 21 of the first answer."""
    known = specified_profile("s", SimulatedSettings(latency="tokens:fixed=5,step=10,prefill=1,answer=500"))
    asked = f'ask("{"a" * 40}", max_tokens: 21) -> a\n ask("{"b" * 400}", a) -> b'
    text = f"agent A {{ flow f() -> str {{ {asked}\n return b }} }}"
    found = analyzed(text, known)
    assert found.t1_ms.expected == found.t_inf_ms.expected
    assert found.t1_ms.expected == pytest.approx((15 + 10 + 200) + (15 + 121 + 4990), abs=8)
    assert found.at[0].predicted_ms == pytest.approx(found.t1_ms.expected, abs=8)


def test_predictions_lie_between_the_bounds() -> None:
    found = analyzed(FAN_OUT)
    one, two = found.at
    assert (one.lower_ms, one.predicted_ms, one.upper_ms) == (5000, 5000, 5000)
    assert (two.lower_ms, two.predicted_ms, two.upper_ms) == (4000, 4000, 4500)


def test_latencies_come_from_the_profile_and_contention_is_predicted() -> None:
    found = analyzed(FAN_OUT, profile(100, 150))
    assert found.t1_ms.expected == 300
    assert [at.predicted_ms for at in found.at] == [300, 250]
    assert found.latencies == "profile of scripted, model scripted, calibrated 2025-01-01"


@pytest.mark.parametrize("level", [0, 1])
def test_arms_count_as_the_least_the_mean_and_the_most_of_them(level: int) -> None:
    found = analyzed(BRANCHES, level=level)
    assert found.calls == Range(2, 3, 5)  # retries are calls too, at worst
    assert found.t1_ms == Range(2000, 3000, 4000)
    assert found.t_inf_ms.low == 1000
    assert found.t_inf_ms.high == 3000
    assert [step.where for step in found.critical_path] == ["test.ais:5:9", "test.ais:14:9", "test.ais:15:16"]
    assert found.unknown == ("topic",)


def test_what_is_predicted_is_the_mean_over_the_arms() -> None:
    found = analyzed(BRANCHES)
    one = found.at[0]
    assert one.predicted_ci95_ms[0] < 3000 < one.predicted_ci95_ms[1]
    assert found.t1_ms.low <= one.predicted_ms <= found.t1_ms.high  # type: ignore[operator]


TOKENS = """
agent A {
    system: "12345678"
    flow main(topic: str) -> str {
        ask("1234" + topic, max_tokens: 10) -> a
        return ask("1234", a, max_tokens: 20)
    }
}
"""


def test_tokens_come_from_the_texts_of_the_program_and_its_limits() -> None:
    found = analyzed(TOKENS, topic="12345678")
    assert found.output_tokens == Range(2, 30, 30)
    # First 8 + 4 + 8 characters; then 8 + 4, the heading of the context (13), and 4 per token of the answer.
    assert found.input_tokens == Range(5 + 8, 5 + 17, 5 + 17)
    assert found.unknown == ()


def test_answers_are_as_long_as_those_of_the_calibration_where_nothing_limits_them() -> None:
    text = TOKENS.replace(", max_tokens: 10", "").replace(", max_tokens: 20", "")
    found = analyzed(text, profile(100, output_tokens=8), topic="")
    assert found.output_tokens == Range(2, 16, None)
    assert found.input_tokens.high is None
    assert analyzed(text, topic="").output_tokens.expected == 512


def test_the_instruction_of_an_operation_is_sent_too() -> None:
    one = analyzed('agent A { flow main() -> str { return ask("x") } }').input_tokens.expected
    assert analyzed('agent A { flow main() -> str { return reason("x") } }').input_tokens.expected > one + 10


def test_the_schema_of_an_answer_is_sent_as_well() -> None:
    schemas = answer_format(STR, ["yes", "no"]).schema, answer_format(VERDICT).schema
    instruction = OPERATIONS["verify"].instruction or ""
    found = analyzed(
        'agent A { flow main() -> str { verify("1234") -> v return ask("1234", choices: ["yes", "no"]) } }'
    )
    both = analyzed(
        'agent A { flow main() { verify("1234") -> v ask("1234", choices: ["yes", "no"]) -> a print(v, a) } }'
    )
    assert found.input_tokens.expected == ceil((4 + len(schemas[0])) / 4)
    assert both.input_tokens.expected - found.input_tokens.expected == ceil((4 + len(instruction + schemas[1])) / 4)


def test_a_flow_that_calls_no_model() -> None:
    found = analyzed('agent A { flow main() { print("x") } }')
    assert found.t1_ms == found.t_inf_ms == found.calls == Range(0, 0, 0)
    assert found.parallelism == 1
    assert [at.predicted_ms for at in found.at] == [0, 0]


@pytest.mark.parametrize("seed", range(30))
def test_any_run_lies_within_what_was_said_before_it(seed: int) -> None:
    p = random_program(Random(seed))
    flow = p.flows[0]
    try:
        traces = list(Predictor(p, profile(100), seed).runs(flow, most=5))
    except Exception:  # a switch without a match: such a flow cannot be analyzed either
        return
    found = analyze(p, flow, (2,), profile(100))
    for trace in traces:
        t1, t_inf = work(trace) / 1e6, longest_path(trace).length / 1e6
        assert found.t1_ms.low <= t1 <= (found.t1_ms.high or 0)
        assert found.t_inf_ms.low <= t_inf <= (found.t_inf_ms.high or 0)
        assert found.calls.low <= len(trace.operations) <= (found.calls.high or 0)


def test_every_amount_is_written_as_the_same_kind_of_number() -> None:
    body = 'ask("a", max_tokens: 2048) -> a  ask("b", a, retries: 2) -> b  return b'
    found = analyzed(f"agent A {{ flow main() -> str {{ {body} }} }}")
    for amounts in (found.t1_ms, found.t_inf_ms, found.calls, found.input_tokens, found.output_tokens):
        numbers = [amounts.low, amounts.expected, amounts.high]
        assert {type(n) for n in numbers if n is not None} == {float}


TOOLS = """
agent A {
    capability look(q: str "what for", limit: int = 5) -> list[str] readonly "Looks."
    flow main() -> str { ask("a", tools: [look], max_rounds: 3, max_tokens: 10) -> b  return b }
}
"""
SCHEMA = (
    '{"type":"object","properties":{"q":{"description":"what for","type":"string"},'
    '"limit":{"type":"integer","default":5}},"required":["q"],"additionalProperties":false}'
)


def test_an_ask_with_tools_is_a_loop_of_calls_of_the_model_and_of_tools() -> None:
    found = analyzed(TOOLS)
    assert [(loop.path, loop.operation, loop.turns) for loop in found.loops] == [
        ("b", "ask", Range(1, 1.875, 4)), ("b[1]/call", "tools", Range(0, 1, 128)),
    ]  # fmt: skip
    assert found.calls == Range(1, 1.875, 4)
    assert (found.t1_ms.low, found.t_inf_ms.low) == (1000, 1000)
    assert found.t_inf_ms.high == 4 * (1000 + 200)
    told = len("a" + SCHEMA + "look" + "Looks.")
    assert found.input_tokens.low == ceil(told / 4)


def test_a_prediction_draws_rounds_and_calls() -> None:
    p = compiled(TOOLS)
    found = Predictor(p, None, 0).predict(p.flows[0], runs=60)
    assert found.random
    assert 1 < found.calls <= 4
    assert {1000.0, 1200.0, 2000.0, 2200.0} & set(found.samples_ms)
    assert min(found.samples_ms) == 1000.0
    assert max(found.samples_ms) <= 4 * 1200
