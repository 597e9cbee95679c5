"""Least squares: numbers that made what was seen are found again, none below 0, and with their standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt
from random import Random

import pytest

from apxm.analysis.least_squares import cholesky, inverted, least_squares

AT = [0.1 * k for k in range(30)]


def test_the_numbers_of_a_curve_are_found_from_far_away() -> None:
    def residuals(numbers: Sequence[float]) -> list[float]:
        return [numbers[0] * exp(-numbers[1] * x) - 3.0 * exp(-0.7 * x) for x in AT]

    assert least_squares(residuals, (1.0, 0.1), (1e-6, 1e-6)).numbers == pytest.approx((3.0, 0.7), rel=1e-5)


def test_no_number_goes_below_zero_and_the_others_are_best_beside_it() -> None:
    """A line through points that fall, with a slope of at least 0, is their mean."""
    fit = least_squares(lambda numbers: [numbers[0] + numbers[1] * x - (5 - x) for x in AT], (1.0, 1.0), (1e-6, 1e-6))
    assert fit.numbers == pytest.approx((5 - sum(AT) / len(AT), 0.0), abs=1e-6)


def test_a_number_that_nothing_depends_on_stays_and_has_no_variance() -> None:
    fit = least_squares(lambda numbers: [numbers[0] - 2.0, numbers[0] - 4.0], (1.0, 7.0), (1e-6, 1e-6))
    assert fit.numbers == pytest.approx((3.0, 7.0))
    assert fit.covariance([0, 1]) == [[pytest.approx(1.0), 0.0], [0.0, 0.0]]  # without one, it is off by 1
    assert inverted([[4.0, 0.0], [0.0, 0.0]]) == [[0.25, 0.0], [0.0, 0.0]]


def test_the_standard_errors_are_those_of_repeated_measurements() -> None:
    """Of the slope of a line through noise of σ 0.5."""
    slopes: list[float] = []
    said = 0.0
    for seed in range(60):
        noise = [Random(f"{seed} {x}").gauss(0, 0.5) for x in AT]

        def residuals(numbers: Sequence[float], noise: list[float] = noise) -> list[float]:
            return [numbers[0] + numbers[1] * x - (9 + 4 * x + e) for x, e in zip(AT, noise, strict=True)]

        fit = least_squares(residuals, (1.0, 1.0), (1e-6, 1e-6))
        slopes.append(fit.numbers[1])
        said += sqrt(fit.covariance(range(len(AT)))[1][1]) / 60
    middle = sum(slopes) / len(slopes)
    assert middle == pytest.approx(4.0, abs=3 * said / sqrt(60))
    assert sqrt(sum((slope - middle) ** 2 for slope in slopes) / 59) == pytest.approx(said, rel=0.3)


def test_a_root_times_itself_is_the_matrix() -> None:
    matrix = [[4.0, 2.0, 0.0], [2.0, 5.0, 0.0], [0.0, 0.0, 0.0]]
    root = cholesky(matrix)
    assert [[sum(a * b for a, b in zip(x, y, strict=True)) for y in root] for x in root] == matrix
