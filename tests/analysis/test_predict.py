"""Predictions: the real scheduler over a profile, beside runs on the endpoint that the profile is of."""

from __future__ import annotations

import asyncio
from random import Random
from statistics import median

import pytest
from benchmarks.prediction import Row, fan_outs, graphs, misses, misses_of_graphs

from apxm.analysis.predict import Prediction, Predictor, predict
from apxm.analysis.profile import Profile
from apxm.analysis.station import ANSWER
from apxm.compiler.pipeline import compile_source
from apxm.errors import UsageError
from apxm.operations.types import Value
from apxm.program.program import Program
from apxm.source import SourceFile
from tests.analysis.endpoints import profile
from tests.plans import ask, merge, plan, program
from tests.turning import turning_source


def predicted(p: Program, known: Profile | None = None, *arguments: Value, **options: int | None) -> Prediction:
    return predict(p, p.flows[0], arguments, known, **options)  # type: ignore[arg-type]


def compiled(body: str, parameters: str = "") -> Program:
    text = f"agent A {{ flow main({parameters}) -> str {{ {body} }} }}"
    return compile_source(SourceFile("test.ais", text)).program


def fan_out(width: int) -> Program:
    return program(plan(*[ask(f"Task {i}") for i in range(width)], merge(*range(width))))


def test_a_constant_endpoint_is_predicted_exactly_and_once() -> None:
    assert predicted(fan_out(4), profile(250)) == Prediction(
        250, (250, 250), (250.0,), 4, random=False, interval80_ms=(250, 250)
    )


@pytest.mark.parametrize(("limit", "expected"), [(1, 800), (2, 400 * 1.5), (4, 200 * 2), (None, 200 * 3)])
def test_calls_that_share_a_processor_slow_each_other_down(limit: int | None, expected: float) -> None:
    known = profile(200, 300, 400, 600, concurrencies=[1, 2, 4, 8])
    width = 4 if limit else 8
    assert predicted(fan_out(width), known, max_concurrency=limit).mean_ms == pytest.approx(expected)


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([100, 200, 400], [100, 200, 300, 400]),  # one server
        ([100, 100, 200], [100, 100, 200, 200]),  # two
        ([100, 100, 100], [100, 100, 100, 100]),  # four
        ([100, 160, 320], [100, 180, 260, 340]),  # one, occupied for four fifths of a call
    ],
)
def test_calls_that_stand_in_a_queue_end_one_after_the_other(services: list[float], expected: list[float]) -> None:
    p = fan_out(4)
    trace = next(Predictor(p, profile(*services, discipline="queue"), seed=0).runs(p.flows[0]))
    ends = sorted((record.attempts[0].received - trace.started) / 1e6 for record in trace.operations)
    assert ends == pytest.approx(expected)


def test_calls_sent_together_pay_for_the_client_one_after_the_other() -> None:
    assert predicted(fan_out(10), profile(100, client_ms=2)).mean_ms == 120
    chain = program(plan(ask("a"), ask("b", 0)))
    assert predicted(chain, profile(100, client_ms=2)).mean_ms == 204


def test_a_call_that_times_out_on_its_way_through_the_client_or_at_the_endpoint_ends_there() -> None:
    p = program(plan(ask("slow", timeout=0.05), ask("free", timeout=9)))
    for known in (profile(100), profile(100, client_ms=60), profile(100, 200, discipline="queue")):
        with pytest.raises(UsageError, match="fails without a model"):
            predicted(p, known)


def test_random_services_are_drawn_from_the_profile_by_the_seed() -> None:
    known = profile(100, ratios=[0.5, 1.5])
    one = program(plan(ask("x")))
    first = predicted(one, known, runs=200, seed=1)
    assert set(first.samples_ms) == {50, 150}
    assert first.ci95_ms[0] < 100 < first.ci95_ms[1]
    assert predicted(one, known, runs=200, seed=1) == first != predicted(one, known, runs=200, seed=2)
    assert predicted(fan_out(20), known).mean_ms == 150


def test_without_a_profile_operations_take_their_typical_times() -> None:
    p = compiled('ask("a") -> a  think("b", a) -> b  reason("c", b) -> c  return c')
    assert predicted(p).mean_ms == 6000


def test_backends_that_the_program_names_are_endpoints_of_their_own() -> None:
    p = program(plan(ask("a"), ask("b", backend="other"), ask("c", backend="scripted")))
    # `scripted` is the profile's own backend, so two of the three meet.
    assert predicted(p, profile(100, 200)).mean_ms == 200


SWITCH = """
    ask("Which?") -> kind
    switch kind {
        case "one" => ask("a")
        case "two" => { ask("b") -> b  return ask("c", b) }
        default    => "none"
    } -> x
    return x
"""


def test_a_switch_on_an_answer_takes_each_arm_equally_often() -> None:
    found = predicted(compiled(SWITCH), profile(100), runs=300)
    times = {duration: found.samples_ms.count(duration) for duration in set(found.samples_ms)}
    assert set(times) == {100, 200, 300}
    assert all(80 <= often <= 120 for often in times.values())
    assert found.calls == pytest.approx(2, abs=0.1)


def test_one_run_is_enough_to_say_whether_another_could_differ() -> None:
    drawing = profile(100, ratios=[0.5, 1.5])
    assert predicted(fan_out(2), drawing, runs=1).random
    assert predicted(compiled(SWITCH), profile(100), runs=1).random
    assert not predicted(fan_out(2), profile(100), runs=1).random
    p = compiled(SWITCH.replace('ask("Which?") -> kind', ""), "kind: str")
    assert not predicted(p, profile(100), "two", runs=1).random


@pytest.mark.parametrize("level", [0, 1])
def test_what_an_answer_decides_is_drawn_and_what_the_program_says_is_not(level: int) -> None:
    text = """
    type Found { good: bool  items: list[str] }
    agent A { @entry flow main(known: bool = true) -> json {
        ask("Which?", schema: Found) -> found
        if found.good { ask("one") }
        if known { print("known") } else { ask("never") -> n  print(n) }
        for x in found.items { ask("item", x) -> y  print(y) }
        loop (max: 3, d: "") { ask("Done?", d, schema: bool) -> done  until done  next d: "x" } -> d
        ask("Any?", schema: json) -> any
        print(any.whatever.there as int)
        return d
    } }"""
    p = compile_source(SourceFile("test.ais", text), level=level).program
    found = predicted(p, profile(100), True, runs=200)
    # One call, at -O0 perhaps another, up to 2 items, up to 3 turns, and the last.
    assert {round(ms) for ms in found.samples_ms} == {100, 200, 300}
    calls = {len(trace.operations) for trace in Predictor(p, profile(100), 0).runs(p.flows[0], [True], most=60)}
    assert calls == set(range(3, 8 if level else 9))
    assert found.calls == pytest.approx(1 + (0 if level else 0.5) + 1 + 1.75 + 1, abs=0.25)


@pytest.mark.parametrize("seed", range(25))
def test_any_program_can_be_predicted(seed: int) -> None:
    p = compile_source(SourceFile("test.ais", turning_source(Random(seed))), level=seed % 2).program
    assert p.entry is not None
    assert predict(p, p.flows[p.entry], [["a", "b"]], profile(100), runs=3).samples_ms


def test_a_switch_on_a_value_that_is_known_takes_its_arm() -> None:
    p = compiled(SWITCH.replace('ask("Which?") -> kind', ""), "kind: str")
    assert predicted(p, profile(100), " TWO ").samples_ms == (200,)
    assert predicted(p, profile(100), "other").samples_ms == (0,)
    assert len(set(predicted(p, profile(100), f"perhaps {ANSWER}").samples_ms)) == 3


def test_a_condition_that_is_known_opens_its_block() -> None:
    p = compiled('if go { return ask("a") } else { return "b" }', "go: bool")
    assert predicted(p, profile(100), True).samples_ms == (100,)
    assert predicted(p, profile(100), False).samples_ms == (0,)


def test_what_a_function_cannot_read_of_an_answer_opens_any_block() -> None:
    p = compiled('ask("How many?") -> a  if number(a) > 3 { return ask("a") } else { return upper(a) }')
    assert set(predicted(p, profile(100), runs=50).samples_ms) == {100, 200}
    p = compiled(SWITCH.replace("switch kind", "switch upper(trim(kind))"))
    assert set(predicted(p, profile(100), runs=50).samples_ms) == {100, 200, 300}


def test_images_and_files_are_predicted_without_being_read() -> None:
    p = compiled('return ask("a", image("missing.png"), file(name))', "name: str")
    assert predicted(p, profile(100), "missing.txt").samples_ms == (100,)


def test_what_cannot_run_without_a_model_is_said() -> None:
    p = compiled('return ask("Hello " + data.name)', "data: json")
    with pytest.raises(UsageError, match="missing_field") as refused:
        predicted(p, profile(100), {})
    assert refused.value.where == "test.ais:1:49"
    assert predicted(p, profile(100), {"name": "Zoë"}).mean_ms == 100


def test_it_may_be_called_inside_a_running_event_loop() -> None:
    async def main() -> float:
        return predicted(fan_out(3), profile(100)).mean_ms

    assert asyncio.run(main()) == 100


@pytest.mark.parametrize(
    ("latency", "slowdown"),
    [("constant:1000", "usl:0.05,0.0001"), ("lognormal:1000,0.4", "none"), ("lognormal:1000,0.4", "usl:0.05,0.0001")],
)
def test_widths_that_were_not_calibrated_are_predicted(latency: str, slowdown: str) -> None:
    for row in fan_outs(latency, slowdown, widths=[4, 8, 16], calls=800, precision=0.02):
        if row.subject != "N = 4":  # below half of it there is only N = 1
            assert abs(row.error) <= row.allowed, row


def test_random_graphs_are_predicted() -> None:
    errors = [abs(row.error) for row in graphs(2, limits=[1, 16], calls=400, precision=0.02)]
    assert median(errors) <= 0.05


def row(predicted_ms: float, standard_error_ms: float = 10) -> Row:
    return Row("N = 8", predicted_ms, 1000, standard_error_ms, [], [])


def test_the_benchmark_names_each_row_that_misses_what_it_is_held_to() -> None:
    assert misses("e", [row(1069), row(931)]) == []
    assert misses("e", [row(1071)]) == ["e, N = 8: off by +7.1%, allowed 7.0%"]
    assert misses("e", [row(1000, 11)]) == ["e, N = 8: standard error 1.1% of the mean, allowed 1%"]
    assert misses_of_graphs("e", [row(1000), row(1049), row(2000)]) == []
    assert misses_of_graphs("e", [row(1000), row(1051), row(2000)]) == ["e, graphs: median error 5.1%, allowed 5%"]


def test_answers_of_a_type_are_predicted_and_what_chooses_by_one_takes_any_case() -> None:
    text = """
    type Person { name: str  age: int  tags: list[str]  mother: str? }
    agent A { @entry flow main() -> json {
        ask("Who?", schema: Person) -> person
        verify("It is so.", person.name) -> verdict
        ask("Which?", choices: ["a", "b"]) -> which
        switch which {
            case "a" => ask("One.")
            case "b" => { ask("One.") -> one  return ask("Two.", one) }
        } -> chosen
        return [person, verdict, chosen]
    } }"""
    p = compile_source(SourceFile("test.ais", text)).program
    found = predicted(p, profile(100), runs=100)
    assert set(found.samples_ms) == {200.0, 300.0}
    assert 35 < found.samples_ms.count(300.0) < 65
    assert set(predicted(p, runs=30).samples_ms) == {2000.0, 3000.0}, "those that the table of operations states"
