"""Profiles as data: their checks, their file, s(c) and the fit that describes it."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from apxm.analysis.profile import Profile, assumed, decode_profile, encode_profile
from apxm.errors import ConfigurationError
from apxm.operations.catalog import OPERATIONS
from tests.analysis.endpoints import profile


def test_a_profile_comes_back_from_its_file() -> None:
    written = replace(profile(100, 150, 260, ratios=[0.5, 1.5]), burst_ms=(250.0, 270.0), output_tokens=3.5)
    assert decode_profile(encode_profile(written), where="p.json") == written


def test_the_slowdown_goes_through_the_points_and_on_along_the_last_two() -> None:
    factor = profile(100, 150, 250).slowdown.factor
    assert [factor(c) for c in (1, 2, 3, 4, 6)] == [1, 1.5, 2, 2.5, 3.5]


def test_the_slowdown_of_a_single_point_is_none() -> None:
    assert profile(100).slowdown.factor(50) == 1


def universal(alpha: float, beta: float) -> list[float]:
    return [100 * (1 + alpha * (c - 1) + beta * c * (c - 1)) for c in (1, 2, 4, 8, 16)]


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.01), (0.05, 0.002)])
def test_the_fit_finds_the_law_that_made_the_points(alpha: float, beta: float) -> None:
    fit = profile(*universal(alpha, beta)).scalability
    assert (fit.alpha, fit.beta) == (pytest.approx(alpha), pytest.approx(beta))
    assert fit.residuals == pytest.approx((0, 0, 0, 0, 0))


def test_the_fit_is_never_negative_and_shows_where_it_does_not_fit() -> None:
    bent = profile(100, 200, 210, 220, 230).scalability
    assert bent.beta == 0
    assert bent.residuals[0] == 0
    assert bent.residuals[1] > 0 > bent.residuals[-1]
    steep = profile(100, 100, 100, 100, 900).scalability
    assert steep.alpha == 0
    assert steep.beta > 0


def test_an_operation_that_nobody_calibrated_takes_its_typical_time() -> None:
    assert assumed(OPERATIONS["think"]).isolated_ms == 3000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": 3}, "reads versions 1 and 2"),
        ({"points": []}, "must rise from 1"),
        ({"points": [{"concurrency": 2, "service_ms": 1.0}]}, "must rise from 1"),
        ({"points": [{"concurrency": 1, "service_ms": 0.0}]}, "above 0"),
        ({"points": [{"concurrency": 1, "service_ms": 2}, {"concurrency": 2, "service_ms": 1}]}, "must not fall"),
        ({"ratios": []}, "ratios"),
        ({"ratios": [2, 1]}, "ratios"),
        ({"ratios": [-1, 1]}, "ratios must be at least one number, must not fall"),
        ({"ratios": [0, 0]}, "not all be 0"),
        ({"ratios": [1e300]}, "a service of more than 604,800,000 ms"),
        ({"points": [{"concurrency": 1, "service_ms": 1e300}]}, "a service of more than 604,800,000 ms"),
        (
            {"points": [{"concurrency": 1, "service_ms": 1e-300}, {"concurrency": 2, "service_ms": 1}]},
            "more than 1,000,000 times the first",
        ),
        (
            {"points": [{"concurrency": 1, "service_ms": 1}, {"concurrency": 10**9, "service_ms": 1}]},
            "at most 10,000,000",
        ),
        ({"client_ms": -1}, "client_ms must be between 0 and 604,800,000, not -1"),
        ({"client_ms": 1e300}, r"client_ms must be between 0 and 604,800,000, not 1e\+300"),
        ({"output_tokens": -0.5}, "output_tokens must be between 0 and 1,000,000,000, not -0.5"),
        ({"output_tokens": 1e300}, "output_tokens"),
        ({"discipline": "chaos"}, "discipline"),
        ({"extra": 1}, "unknown field"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_its_place(changed: dict[str, object], message: str) -> None:
    content = msgspec.to_builtins(profile(100)) | changed
    with pytest.raises(ConfigurationError, match=message) as refused:
        decode_profile(msgspec.json.encode(content), where="p.json")
    assert refused.value.where == "p.json"


def test_ratios_may_be_equal_and_0() -> None:
    """A clock of whole milliseconds reads so."""
    coarse = profile(100, ratios=[0, 0, 1.5, 1.5])
    assert decode_profile(encode_profile(coarse), where="p.json") == coarse


def test_something_else_is_no_profile() -> None:
    with pytest.raises(ConfigurationError, match="not a profile"):
        decode_profile(b"agent A {}", where="workflow.ais")


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        profile(100).date = "today"  # type: ignore[misc]
    assert isinstance(profile(1), Profile)
