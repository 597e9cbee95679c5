"""Latency specifications, and that draws depend on what is asked and not on when."""

from __future__ import annotations

import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.latency import Draws, LogNormalLatency, TokenLatency, parse_latency
from apxm.errors import UsageError

MS = 1_000_000


def drawn(spec: str, prompts: list[str], *, seed: int = 0, iteration: int = 0) -> list[int]:
    latency, draws = parse_latency(spec), Draws(seed, iteration)
    assert not isinstance(latency, TokenLatency)
    return [latency.latency_ns(draws, "m", None, prompt) for prompt in prompts]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("constant:1000", 1000 * MS),
        ("constant:0", 0),
        (" constant: 0.5 ", MS // 2),
        ("constant:1e3", 1000 * MS),
        ("constant:0.000001", 1),
    ],
)
def test_a_constant_is_that_many_nanoseconds(spec: str, expected: int) -> None:
    assert drawn(spec, ["a", "b"]) == [expected, expected]


def test_a_trace_is_given_out_in_order_of_arrival_over_and_over() -> None:
    assert drawn("trace:5,7.5,1", list("abcde")) == [5 * MS, 7_500_000, MS, 5 * MS, 7_500_000]


def test_log_normal_draws_have_the_median_and_the_spread_they_name() -> None:
    values = sorted(drawn("lognormal:1000,0.5", [f"prompt {i}" for i in range(4000)]))
    assert values[2000] == pytest.approx(1000 * MS, rel=0.05)
    upper = 1000 * MS * 2.718281828 ** (0.5 * NormalDist().inv_cdf(0.9))
    assert values[3600] == pytest.approx(upper, rel=0.05)


def test_the_stated_function_does_not_change() -> None:
    """A changed number here means that recorded comparisons can no longer be repeated."""
    assert drawn("lognormal:1000,0.5", ["Task A", "Task A", "Task B"], seed=7) == [
        1_173_659_907,
        439_527_323,
        467_648_943,
    ]


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.randoms(use_true_random=False))
def test_draws_do_not_depend_on_the_order_of_arrival(prompts: list[str], shuffler: random.Random) -> None:
    spec = "lognormal:1000,1"
    shuffled = list(prompts)
    shuffler.shuffle(shuffled)
    first = sorted(zip(prompts, drawn(spec, prompts), strict=True))
    assert sorted(zip(shuffled, drawn(spec, shuffled), strict=True)) == first


def test_each_coordinate_changes_the_draw() -> None:
    latency = LogNormalLatency(1000 * MS, 1)

    def one(seed: int = 0, iteration: int = 0, model: str = "m", system: str | None = None, prompt: str = "p") -> int:
        return latency.latency_ns(Draws(seed, iteration), model, system, prompt)

    variants = [one(), one(seed=1), one(iteration=1), one(model="n"), one(system=""), one(prompt="q")]
    assert len(set(variants)) == len(variants)
    assert drawn("lognormal:1000,1", ["p", "p"])[1] not in variants


def test_half_a_surrogate_pair_in_a_prompt_is_drawn_for_all_the_same() -> None:
    assert drawn("lognormal:1000,0", ["\ud800"]) == [1000 * MS]


@pytest.mark.parametrize("spec", ["constant:1000", "constant:0.5", "lognormal:800,0.5", "trace:1,2.5,3"])
def test_a_model_shows_itself_as_the_specification_it_came_from(spec: str) -> None:
    assert str(parse_latency(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("", "expected constant:MS"),
        ("1000", "expected constant:MS"),
        ("uniform:1,2", "expected constant:MS"),
        ("constant:", "found ''"),
        ("constant:-1", "found '-1'"),
        ("constant:nan", "found 'nan'"),
        ("constant:inf", "found 'inf'"),
        ("constant:1e99", "too large"),
        ("constant:604800001", "too large"),
        ("constant:1,2", "constant takes one number"),
        ("constant:1_000", "found '1_000'"),
        ("constant:١", "found '١'"),
        ("lognormal:1000", "lognormal takes a median"),
        ("lognormal:1000,0.5,1", "lognormal takes a median"),
        ("lognormal:1000,-1", "found '-1'"),
        ("lognormal:1000,9", "sigma 9 is too large"),
        ("trace:", "found ''"),
        ("trace:1,,2", "found ''"),
    ],
)
def test_anything_else_is_refused_with_what_was_found(spec: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_latency(spec)
    assert found in caught.value.message
    assert "constant:1000" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "spec",
    [
        "tokens:fixed=5,step=12,prefill=0.2,decode=0.5,spread=0.1,answer_spread=0.4,slots=8,chunk=512,answer=200,cache",
        "tokens:step=12",
    ],
)
def test_an_engine_says_what_it_was_told(spec: str) -> None:
    assert str(parse_latency(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("tokens:", "''"),
        ("tokens:speed=3", "'speed=3'"),
        ("tokens:cache=yes", "'cache=yes'"),
        ("tokens:step", "'step'"),
        ("tokens:step=-1", "'-1'"),
        ("tokens:slots=0", "slots=0"),
        ("tokens:slots=2.5", "slots=2.5"),
        ("tokens:step=1,step=2", "step stands there twice"),
        ("tokens:spread=9", "sigma 9"),
    ],
)
def test_an_engine_that_is_none_is_refused_with_what_was_found(spec: str, found: str) -> None:
    with pytest.raises(UsageError, match="latency") as refused:
        parse_latency(spec)
    assert found in refused.value.message


def test_lengths_of_answers_have_the_median_and_the_spread_they_name_and_are_always_the_same() -> None:
    latency = parse_latency("tokens:step=1,answer=100,answer_spread=0.5")
    assert isinstance(latency, TokenLatency)

    def lengths(seed: int) -> list[int | None]:
        return [latency.answer_tokens(seed, f"prompt {i}") for i in range(2000)]

    found = sorted(length or 0 for length in lengths(1))
    assert found[1000] == pytest.approx(100, rel=0.05)
    assert found[1800] == pytest.approx(100 * 2.718281828 ** (0.5 * NormalDist().inv_cdf(0.9)), rel=0.06)
    assert lengths(1) == lengths(1) != lengths(2)
