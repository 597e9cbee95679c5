"""The simulated backend on a clock that tests move: when it answers, and what."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.protocol import ModelAnswer, ModelRequest, Usage
from apxm.backends.simulated import SimulatedBackend, count_tokens, echo
from apxm.errors import UsageError
from apxm.operations.schemas import answer_format
from apxm.operations.types import INT
from tests.backends.clock import FakeClock

MS = 1_000_000


def answers(backend: SimulatedBackend, *requests: ModelRequest) -> list[tuple[int, ModelAnswer]]:
    """When each request was answered, in ns, and with what; all begin at once."""
    clock = FakeClock()
    got: dict[int, tuple[int, ModelAnswer]] = {}

    def begin(index: int, request: ModelRequest) -> None:
        def done(answer: Any) -> None:
            got[index] = (clock.now(), answer)

        backend.begin(request, clock, done)
        assert index not in got, "done must not be called inside begin"

    for index, request in enumerate(requests):
        begin(index, request)
    clock.run()
    assert clock.armed == 0
    return [got[i] for i in range(len(requests))]


def one(request: ModelRequest, **options: Any) -> ModelAnswer:
    return answers(SimulatedBackend(**options), request)[0][1]


def test_by_default_a_call_takes_exactly_a_second_and_says_so() -> None:
    at, answer = answers(SimulatedBackend(), ModelRequest("Task A"))[0]
    assert at == 1000 * MS
    assert answer == ModelAnswer(
        text="Simulated answer 70678662: Task A",
        usage=Usage(input_tokens=2, output_tokens=9),
        service_ns=1000 * MS,
        model="simulated",
    )


def test_without_latency_it_still_answers_later() -> None:
    assert answers(SimulatedBackend(latency="constant:0"), ModelRequest("x"))[0][0] == 0


def test_the_service_time_is_the_one_really_given_slowdown_included() -> None:
    backend = SimulatedBackend(latency="constant:100", slowdown="curve:1=1,2=1.5")
    for at, answer in answers(backend, ModelRequest("a"), ModelRequest("b")):
        assert (at, answer.service_ns) == (150 * MS, 150 * MS)


def test_a_run_is_repeated_by_its_seed_and_each_iteration_differs() -> None:
    requests = [ModelRequest(f"Task {i}") for i in range(5)]

    def times(seed: int, iteration: int) -> list[int]:
        backend = SimulatedBackend(latency="lognormal:1000,0.5", seed=seed)
        backend.start_run(iteration)
        return [at for at, _ in answers(backend, *requests)]

    assert times(1, 0) == times(1, 0)
    assert len({tuple(times(*pair)) for pair in ((1, 0), (2, 0), (1, 1))}) == 3


def test_start_run_forgets_what_was_drawn_before() -> None:
    backend = SimulatedBackend(latency="trace:1,2,3")
    first = [at for at, _ in answers(backend, ModelRequest("a"), ModelRequest("b"))]
    backend.start_run()
    assert [at for at, _ in answers(backend, ModelRequest("a"), ModelRequest("b"))] == first == [MS, 2 * MS]


def test_the_first_pattern_that_matches_anywhere_in_the_prompt_answers() -> None:
    script = [(re.compile(r"colou?r"), "blue"), (re.compile(r"(?i)^what"), "that")]
    assert one(ModelRequest("What color?"), answers=script).text == "blue"
    assert one(ModelRequest("What else?"), answers=script).text == "that"
    assert one(ModelRequest("Why?"), answers=script).text == echo("Why?")
    assert one(ModelRequest("What color?", answer=answer_format(INT)), answers=script).text == "blue"


def test_max_tokens_cuts_the_answer() -> None:
    answer = one(ModelRequest("Task A", max_tokens=3))
    assert (answer.text, answer.usage.output_tokens) == ("Simulated an", 3)


def test_the_model_asked_for_is_the_one_that_answers() -> None:
    assert one(ModelRequest("x", model="other")).model == "other"
    assert one(ModelRequest("x"), model="mine").model == "mine"


def test_the_system_text_counts_as_input() -> None:
    assert one(ModelRequest("12345678", system="1234")).usage.input_tokens == 3


def test_a_cancelled_call_reports_nothing_and_leaves_no_timer() -> None:
    clock, got = FakeClock(), list[object]()
    handle = SimulatedBackend().begin(ModelRequest("x"), clock, got.append)
    handle.cancel()
    handle.cancel()
    clock.run()
    assert (got, clock.armed) == ([], 0)


@pytest.mark.parametrize(
    ("prompt", "beginning"),
    [
        ("", ""),
        ("two\n  lines", "two lines"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60 + "…"),
        ("half \ud800", "half \ud800"),
    ],
)
def test_the_answer_shows_the_beginning_of_the_prompt_on_one_line(prompt: str, beginning: str) -> None:
    assert echo(prompt).partition(": ")[2] == beginning


@given(st.text(), st.text())
def test_different_prompts_get_different_answers(first: str, second: str) -> None:
    assert (echo(first) == echo(second)) == (first == second)


def test_tokens_are_quarters_of_the_characters_rounded_up() -> None:
    assert [count_tokens("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_it_says_that_it_is_no_model() -> None:
    info = SimulatedBackend(seed=3, slowdown="usl:0.1,0").info
    assert info.simulated
    assert info.description == "simulated, no real model: latency constant:1000, slowdown usl:0.1,0, seed 3"


def test_what_the_system_text_says_changes_the_answer() -> None:
    """As it would with a model: two agents that are told something else do not say the same."""
    texts = {echo("Hello", system) for system in (None, "", "Be brief.", "Be long.")}
    assert len(texts) == 4
    assert all(text.endswith(": Hello") for text in texts)
    assert echo("Hello", "Be brief.") == echo("Hello", "Be brief.")


# --- an engine whose calls cost tokens -----------------------------------------------------------------------------


def test_a_call_takes_what_its_prompt_and_its_answer_cost() -> None:
    """8 characters are 2 tokens, and 10 are said: the first comes with the prompt."""
    request = ModelRequest("12345678", max_tokens=10)
    at, answer = answers(SimulatedBackend(latency="tokens:fixed=5,step=10,prefill=2,decode=1,answer=50"), request)[0]
    assert at == answer.service_ns == (5 + 10 + 2 * 2 + 9 * 11) * MS
    assert answer.usage == Usage(2, 10)
    assert answer.cut_off


def test_an_answer_is_as_long_as_the_engine_says_unless_a_pattern_says_another() -> None:
    backend = SimulatedBackend(latency="tokens:step=1,answer=33", answers=[(re.compile("known"), "Yes.")])
    long, known = answers(backend, ModelRequest("x"), ModelRequest("known"))
    assert (long[1].usage.output_tokens, long[1].cut_off, len(long[1].text)) == (33, False, 132)
    assert known[1].text == "Yes."


def test_calls_at_an_engine_wait_for_its_slots() -> None:
    backend = SimulatedBackend(latency="tokens:step=10,slots=1,answer=2")
    assert [at for at, _ in answers(backend, ModelRequest("a"), ModelRequest("b"))] == [20 * MS, 40 * MS]


def test_with_a_cache_the_usage_says_what_was_not_read_again_until_the_next_iteration() -> None:
    backend = SimulatedBackend(latency="tokens:step=1,prefill=1,cache")
    prompt = "x" * 640  # 160 tokens, in blocks behind the system text
    first, second = (one_of(backend, prompt) for _ in range(2))
    assert (first.usage.cached_tokens, second.usage.cached_tokens) == (0, 159)
    assert (first.service_ns or 0) - (second.service_ns or 0) == 159 * MS
    backend.start_run(1)
    assert one_of(backend, prompt).usage.cached_tokens == 0


def one_of(backend: SimulatedBackend, prompt: str) -> ModelAnswer:
    return answers(backend, ModelRequest(prompt))[0][1]


def test_an_answer_that_is_streamed_comes_token_by_token() -> None:
    clock, told = FakeClock(), list[tuple[int, str]]()
    backend = SimulatedBackend(latency="tokens:fixed=5,step=10,answer=3")
    ended: list[Any] = []
    backend.begin_stream(ModelRequest("x"), clock, lambda text: told.append((clock.now() // MS, text)), ended.append)
    clock.run()
    assert [at for at, _ in told] == [15, 25, 35]
    assert "".join(text for _, text in told) == ended[0].text


def test_an_engine_is_not_slowed_down_twice() -> None:
    with pytest.raises(UsageError, match="slow each other down by what they cost"):
        SimulatedBackend(latency="tokens:step=1", slowdown="usl:0.1,0")
