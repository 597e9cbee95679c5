"""Means and their intervals."""

from __future__ import annotations

from random import Random
from statistics import fmean

import pytest

from apxm.analysis.bootstrap import Interval, mean_interval


def test_equal_samples_leave_no_doubt() -> None:
    assert mean_interval([3.0] * 5) == mean_interval([3.0]) == Interval(3.0, 3.0, 3.0)


def test_equal_seeds_give_equal_intervals() -> None:
    samples = [1.1, 2.3, 4.7, 8.9, 16.3, 3.2, 7.7]
    assert mean_interval(samples, 1) == mean_interval(samples, 1) != mean_interval(samples, 2)


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    random = Random(1)
    held = 0
    for seed in range(100):
        found = mean_interval([random.gauss(10, 2) for _ in range(30)], seed)
        assert found.low < found.mean < found.high
        held += found.low <= 10 <= found.high
    assert 88 <= held <= 99  # of 95 expected


def test_the_mean_is_that_of_the_samples() -> None:
    samples = [0.1, 0.2, 0.7]
    assert mean_interval(samples).mean == fmean(samples)


def test_no_samples_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no samples"):
        mean_interval([])
