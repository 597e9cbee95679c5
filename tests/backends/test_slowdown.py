"""Slowdown specifications: s(c) as an exact fraction."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.slowdown import parse_slowdown
from apxm.errors import UsageError


def factors(spec: str, *calls: int) -> list[Fraction]:
    slowdown = parse_slowdown(spec)
    return [slowdown.factor(c) for c in calls]


def test_none_slows_nothing() -> None:
    assert factors("none", 1, 2, 1000) == [1, 1, 1]


def test_usl_is_gunthers_law() -> None:
    assert factors("usl:0.1,0.01", 1, 2, 10) == [1, Fraction("1.12"), Fraction("2.8")]


def test_a_curve_is_straight_between_points_and_goes_on_along_the_last_two() -> None:
    assert factors("curve:1=1,4=2.5,8=3", 1, 2, 4, 6, 8, 16) == [1, 1.5, 2.5, 2.75, 3, 4]


def test_a_curve_of_one_point_is_flat() -> None:
    assert factors("curve:1=1", 1, 50) == [1, 1]


decimals = st.decimals(0, 10, places=3).map(str)


@given(
    st.one_of(
        st.tuples(decimals, decimals).map(lambda pair: f"usl:{pair[0]},{pair[1]}"),
        st.lists(st.tuples(st.integers(1, 9), st.decimals(0, 5, places=2)), max_size=5).map(
            lambda steps: (
                "curve:1=1"
                + "".join(
                    f",{1 + sum(s for s, _ in steps[: i + 1])}={1 + sum(f for _, f in steps[: i + 1])}"
                    for i in range(len(steps))
                )
            )
        ),
    )
)
def test_more_calls_are_never_faster_and_one_alone_is_not_slowed(spec: str) -> None:
    values = factors(spec, *range(1, 60))
    assert values[0] == 1
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("", "expected none, usl"),
        ("linear:2", "expected none, usl"),
        ("none:1", "expected none, usl"),
        ("usl:0.1", "usl takes ALPHA and BETA"),
        ("usl:-0.1,0", "found '-0.1'"),
        ("usl:nan,0", "found 'nan'"),
        ("usl:1/3,0", "found '1/3'"),
        ("usl:1e9,0", "too large"),
        ("usl:1e99,0", "too large"),
        ("curve:", "found ''"),
        ("curve:1", "CALLS=FACTOR"),
        ("curve:1.5=1", "CALLS=FACTOR"),
        ("curve:2=1", "expected 1=1"),
        ("curve:1=2", "expected 1=1"),
        ("curve:1=1,1=2", "more calls from point to point"),
        ("curve:1=1,4=2,2=3", "more calls from point to point"),
        ("curve:1=1,4=3,8=2", "never falls"),
        ("curve:1=1,99999999=2", "too many"),
        ("curve:1=1,2=", "found ''"),
    ],
)
def test_anything_else_is_refused_with_what_was_found(spec: str, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_slowdown(spec)
    assert found in caught.value.message
    assert "usl:" in (caught.value.hint or "")
