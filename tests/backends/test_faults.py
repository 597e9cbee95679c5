"""Faults on demand: the specification, who meets which, and what a simulated call in process comes to."""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.faults import AT_ONCE, KINDS, OF_SHAPES, FaultKind, Faults, parse_faults
from apxm.backends.latency import Draws
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.simulated import SimulatedBackend, echo
from apxm.errors import BackendError, UsageError
from apxm.operations.schemas import AnswerFormat, answer_format
from apxm.operations.types import INT, list_of
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.loops import run_virtually
from apxm.runtime.options import RunOptions
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Status
from tests.backends.clock import FakeClock
from tests.plans import ask, give, plan, program

MS = 1_000_000
PROMPTS = [f"Task {i}" for i in range(1000)]
PAIRS = answer_format(list_of(INT))
IN_PROCESS = [kind for kind in KINDS if kind != "no_format"]
"""Only an endpoint can refuse a field of a body."""


def met(spec: str, prompts: list[str], *, seed: int = 0, iteration: int = 0) -> list[FaultKind | None]:
    faults = parse_faults(spec)
    draws = faults.draws(seed, iteration)
    return [faults.next_fault(draws, "m", None, prompt) for prompt in prompts]


# --- the specification ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "kinds", "seed"),
    [
        ("none", set[str](), None),
        ("429:0.1", {"429"}, None),
        (" 429 : 0.1 , reset:@3, seed: 7 ", {"429", "reset"}, 7),
        ("seed:-1,bomb:.5,bomb:@1,bomb:@2", {"bomb"}, -1),
        (",".join(f"{kind}:0" for kind in KINDS), set(KINDS), None),
        ("500:1e-3,503:0.999", {"500", "503"}, None),
        ("429:>64, 503:@2", {"429", "503"}, None),
    ],
)
def test_it_is_read_and_written(spec: str, kinds: set[str], seed: int | None) -> None:
    faults = parse_faults(spec)
    assert (faults.kinds, faults.seed, bool(faults)) == (kinds, seed, bool(kinds))
    assert parse_faults(str(faults)) == faults


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("", "found '', expected none or KIND:PROBABILITY"),
        ("429", "found '429', expected none or KIND:PROBABILITY"),
        ("none,429:1", "found 'none', expected"),
        ("429:0.1,", "found '', expected"),
        ("404:0.1", "there is no fault '404', expected one of 429, 500,"),
        ("RESET:0.1", "there is no fault 'RESET'"),
        ("429:", "found '' where a probability from 0 to 1"),
        ("429:-0.1", "found '-0.1' where a probability from 0 to 1"),
        ("429:1.01", "found '1.01' where a probability from 0 to 1"),
        ("429:10%", "found '10%' where a probability from 0 to 1"),
        ("429:nan", "found 'nan' where a probability from 0 to 1"),
        ("429:0.7,500:0.4", "add up to 1.1, expected at most 1"),
        ("429:0.1,429:0.2", "429 has two probabilities"),
        ("429:@0", "found '@0', expected the number of a call: @1"),
        ("429:@", "found '@', expected the number of a call"),
        ("429:@1.5", "found '@1.5', expected the number of a call"),
        ("429:@9999999999", "found '@9999999999', expected the number of a call"),
        ("429:>", "found '>', expected the calls in flight beyond which it comes"),
        ("429:>1,429:>2", "429 has two numbers of calls in flight"),
        ("429:@2,hang:@2", "call 2 has two faults, 429 and hang"),
        ("seed:7", "it names no fault"),
        ("429:0.1,seed:x", "found 'x' where a seed"),
        ("429:0.1,seed:1,seed:2", "there are two seeds"),
    ],
)
def test_anything_else_is_refused_with_what_was_found(spec: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_faults(spec)
    assert caught.value.message.startswith(f"faults {spec!r}: ")
    assert found in caught.value.message
    assert "429:0.1" in (caught.value.hint or "")


# --- who meets what ------------------------------------------------------------------------------------------------


def test_so_many_calls_meet_a_fault_as_its_probability_says() -> None:
    kinds = met("429:0.2,500:0.3", PROMPTS)
    assert kinds.count("429") == pytest.approx(200, abs=40)
    assert kinds.count("500") == pytest.approx(300, abs=50)
    assert set(kinds) == {"429", "500", None}


def test_probabilities_of_one_in_all_spare_nobody_and_of_zero_everybody() -> None:
    assert None not in met("429:0.1,500:0.2,503:0.3,reset:0.4", PROMPTS)
    assert set(met("429:0", PROMPTS)) == {None}


@given(st.randoms(use_true_random=False), st.integers(0, 9))
def test_the_order_of_arrival_decides_nothing(rng: random.Random, seed: int) -> None:
    prompts = PROMPTS[:40]
    shuffled = rng.sample(prompts, len(prompts))
    expected = dict(zip(prompts, met("429:0.5,hang:0.2", prompts, seed=seed), strict=True))
    assert met("429:0.5,hang:0.2", shuffled, seed=seed) == [expected[prompt] for prompt in shuffled]


def test_asked_again_a_call_draws_anew() -> None:
    kinds = met("500:0.5", ["the same"] * 100)
    assert 30 < kinds.count("500") < 70


def test_they_are_repeated_by_the_seed_and_differ_by_it_and_by_iteration() -> None:
    first = met("429:0.5", PROMPTS)
    assert met("429:0.5", PROMPTS) == first
    assert met("429:0.5", PROMPTS, iteration=1) != first
    assert met("429:0.5", PROMPTS, seed=1) != first
    assert met("429:0.5,seed:1", PROMPTS, seed=7) == met("429:0.5", PROMPTS, seed=1), "its own seed goes before"


def test_the_stated_function_does_not_change() -> None:
    """What fails in a run can be told again, by whoever knows the seed."""
    digest = blake2b(msgspec.msgpack.encode([b"m", None, b"Hi"]), digest_size=16).digest()
    numbers = [blake2b(b"faults:7:2:%d:" % n + digest, digest_size=8).digest() for n in range(50)]
    expected = ["429" if int.from_bytes(number, "big") < 1 << 63 else None for number in numbers]
    assert met("429:0.5", ["Hi"] * 50, seed=7, iteration=2) == expected


def test_what_fails_has_nothing_to_do_with_what_takes_long() -> None:
    draws = Draws(0)
    failed = met("429:0.5", PROMPTS)
    long = [draws.uniform("m", None, prompt) > 0.5 for prompt in PROMPTS]
    both = sum(is_long and kind is not None for is_long, kind in zip(long, failed, strict=True))
    assert both == pytest.approx(250, abs=50)


def test_a_call_can_be_named_by_its_number() -> None:
    assert met("hang:@3,429:@1,429:@4", ["a", "b", "a", "c", "d"]) == ["429", None, "hang", "429", None]


def test_to_name_a_call_changes_no_other() -> None:
    prompts = ["the same"] * 40
    without, named = met("429:0.5", prompts), met("429:0.5,hang:@3", prompts)
    assert named[2] == "hang"
    assert [*named[:2], *named[3:]] == [*without[:2], *without[3:]]


def test_a_call_beyond_so_many_in_flight_meets_it_and_weighs_on_nobody() -> None:
    backend = SimulatedBackend(latency="constant:1000", faults="429:>2")
    found = [over for over in outcomes(backend, "a", "b", "c", "d") if over is not None]
    assert [(when, isinstance(what, BackendError)) for when, what in found] == [
        (1000, False),
        (1000, False),
        (0, True),
        (0, True),
    ]


# --- in process ----------------------------------------------------------------------------------------------------

Outcome = tuple[int, ModelAnswer | BackendError]


def outcomes(backend: SimulatedBackend, *prompts: str, answer: AnswerFormat | None = None) -> list[Outcome | None]:
    """When each call was over, in ms, and how; all begin at once. None for one that never is."""
    clock = FakeClock()
    got: dict[int, Outcome] = {}

    def begin(index: int, prompt: str) -> None:
        def done(outcome: Any) -> None:
            assert index not in got, "reported twice"
            got[index] = (clock.now() // MS, outcome)

        backend.begin(ModelRequest(prompt, answer=answer), clock, done)
        assert index not in got, "done must not be called inside begin"

    for index, prompt in enumerate(prompts):
        begin(index, prompt)
    clock.run()
    assert clock.armed == 0
    return [got.get(index) for index in range(len(prompts))]


@pytest.mark.parametrize(
    ("fault", "at_ms", "kind", "retryable", "retry_after_s"),
    [
        ("429", 0, "rate_limited", True, 1),
        ("500", 0, "http_status", True, None),
        ("503", 0, "http_status", True, None),
        ("reset", 0, "connection", True, None),
        ("reset_mid", 100, "unreadable_answer", True, None),
        ("truncated", 100, "unreadable_answer", True, None),
        ("utf8", 100, "unreadable_answer", True, None),
        ("content_type", 100, "unreadable_answer", True, None),
        ("empty", 100, "unreadable_answer", True, None),
        ("bomb", 100, "too_large", True, None),
        ("redirect", 0, "redirect", True, None),
        ("refusal", 100, "refused", False, None),
    ],
)
def test_a_fault_is_the_error_of_the_same_over_http(
    fault: FaultKind, at_ms: int, kind: str, retryable: bool, retry_after_s: float | None
) -> None:
    backend = SimulatedBackend(name="b", latency="constant:100", faults=f"{fault}:@1")
    failed, sound = outcomes(backend, "Hi", "Hi", answer=PAIRS)
    assert failed is not None
    error = failed[1]
    assert isinstance(error, BackendError)
    assert (failed[0], error.kind, error.retryable, error.retry_after_s) == (at_ms, kind, retryable, retry_after_s)
    assert error.message.startswith("b ")
    assert error.message.endswith("(a simulated fault)")
    assert sound is not None
    assert isinstance(sound[1], ModelAnswer)


def test_a_hanging_call_reports_nothing() -> None:
    failed, sound = outcomes(SimulatedBackend(faults="hang:@1"), "Hi", "Hi")
    assert failed is None
    assert sound is not None


def test_a_dripping_answer_is_right_and_takes_a_second_for_each_byte_of_its_body() -> None:
    (dripped,) = outcomes(SimulatedBackend(latency="constant:100", faults="drip:1"), "Hi \ud800")
    (sound,) = outcomes(SimulatedBackend(latency="constant:100"), "Hi \ud800")
    assert dripped is not None
    assert sound is not None
    at_ms, answer = dripped
    assert isinstance(answer, ModelAnswer)
    assert isinstance(sound[1], ModelAnswer)
    assert (answer.text, answer.usage) == (sound[1].text, sound[1].usage)
    assert answer.service_ns == at_ms * MS
    seconds, rest = divmod(at_ms - 100, 1000)
    assert rest == 0
    assert 250 < seconds < 350


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("fence", "```json\n{sound}\n```"),
        ("prose", "Here is what you asked for:\n\n{sound}\n\nLet me know if you need anything else."),
        ("wrong_type", '{{"answer": ["none of that", "none of that"]}}'),
        ("cut_off", '{{"answer"'),
        ("unshaped", echo("Hi")),
        ("no_format", "{sound}"),
    ],
)
def test_a_shape_is_missed_in_the_way_that_is_asked_for(fault: FaultKind, text: str) -> None:
    missed, sound = outcomes(SimulatedBackend(faults=f"{fault}:@1"), "Hi", "Hi", answer=PAIRS)
    assert missed is not None
    assert sound is not None
    assert isinstance(missed[1], ModelAnswer)
    assert isinstance(sound[1], ModelAnswer)
    assert missed[1].text == text.format(sound=sound[1].text)
    assert missed[1].cut_off == (fault == "cut_off")
    assert missed[1].usage.output_tokens == -(-len(missed[1].text) // 4)


@pytest.mark.parametrize("fault", sorted(OF_SHAPES))
def test_a_call_that_asks_for_no_shape_meets_none_of_its_faults(fault: FaultKind) -> None:
    (outcome,) = outcomes(SimulatedBackend(faults=f"{fault}:1"), "Hi")
    assert outcome is not None
    assert isinstance(outcome[1], ModelAnswer)
    assert outcome[1].text == echo("Hi")


@pytest.mark.parametrize("fault", IN_PROCESS)
def test_a_fault_given_weighs_on_nobody(fault: FaultKind) -> None:
    backend = SimulatedBackend(latency="constant:100", slowdown="curve:1=1,2=2", faults=f"{fault}:@1")
    _, sound = outcomes(backend, "Hi", "Hi", answer=PAIRS)
    assert sound is not None
    assert sound[0] == (100 if fault in AT_ONCE else 200), "only one that works slows the other"


@pytest.mark.parametrize("fault", sorted(AT_ONCE.intersection(IN_PROCESS)))
def test_a_fault_without_work_draws_no_latency(fault: FaultKind) -> None:
    _, first, second = outcomes(SimulatedBackend(latency="trace:1,2,3", faults=f"{fault}:@1"), "Hi", "Hi", "Hi")
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == (1, 2)


@pytest.mark.parametrize("fault", KINDS)
@pytest.mark.parametrize("after_ms", [0, 50, 5000])
def test_a_cancelled_call_reports_nothing_and_leaves_no_timer(fault: FaultKind, after_ms: int) -> None:
    clock, got = FakeClock(), list[object]()
    backend = SimulatedBackend(latency="constant:100", faults=f"{fault}:1")
    handle = backend.begin(ModelRequest("x"), clock, got.append)
    if after_ms:
        clock.at(after_ms * MS)
    reported = len(got)
    handle.cancel()
    handle.cancel()
    assert clock.armed == 0
    clock.run()
    assert len(got) == reported


def test_start_run_begins_to_count_afresh() -> None:
    backend = SimulatedBackend(faults="429:0.5,hang:@1")
    first = [backend.next_fault(ModelRequest(prompt)) for prompt in PROMPTS]
    backend.start_run()
    assert [backend.next_fault(ModelRequest(prompt)) for prompt in PROMPTS] == first
    backend.start_run(1)
    again = [backend.next_fault(ModelRequest(prompt)) for prompt in PROMPTS]
    assert again[0] == "hang"
    assert again != first


def test_it_says_what_goes_wrong() -> None:
    assert SimulatedBackend(faults="429:0.1, seed:2").info.description.endswith("seed 0, faults 429:0.1, seed:2")
    assert "faults" not in SimulatedBackend(faults="none").info.description


def test_a_value_serves_as_well_as_its_text() -> None:
    faults = Faults((), {1: "429"}, None, "429:@1")
    assert parse_faults("429:@1") == faults
    assert SimulatedBackend(faults=faults).next_fault(ModelRequest("Hi")) == "429"


@pytest.mark.parametrize("spec", ["429:@1,500:@2", "hang:@1,drip:@2", "utf8:@1,reset_mid:@2", "empty:@1,reset:@2"])
def test_a_run_survives_what_can_pass(spec: str) -> None:
    pool = BackendPool({"b": SimulatedBackend(faults=spec)}, "b")
    p = program(plan(ask("one", retries=2, timeout=3.0), give(0)))
    trace = run_virtually(Run(LoadedProgram(p), p.flows[0], (), pool, RunOptions()).execute())
    assert trace.status is Status.SUCCEEDED
    assert trace.value == echo("one")
