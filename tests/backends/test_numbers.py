"""What a number that the user sets may be, in each of the places where it can be set."""

from __future__ import annotations

import math
import signal
from decimal import Decimal

import msgspec
import pytest

from apxm.backends.settings import OpenAISettings, SimulatedSettings
from apxm.config.selection import Selection
from apxm.errors import UsageError
from apxm.runtime.options import RunOptions
from apxm.simulator.options import SimulatorOptions

COUNTS = ("max_concurrency", "max_total_tokens")
WRONG_COUNTS = (0, -1, -(2**63), 2**63, 10**400, True, 2.0, math.nan, math.inf, "3", Decimal(3), [1])
WRONG_FLOATS = (0, -0.5, math.nan, math.inf, -math.inf, 10**400, True, "3", Decimal(3), [1])


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", WRONG_COUNTS, ids=lambda value: str(value)[:12])
def test_what_is_no_count_is_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=r"must be (an int|at least 1)"):
        RunOptions(**{name: value})


@pytest.mark.parametrize("name", ["timeout_s", "max_cost"])
@pytest.mark.parametrize("value", WRONG_FLOATS, ids=lambda value: str(value)[:12])
def test_what_is_no_number_above_0_is_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=r"must be a number .*above 0.*, not "):
        RunOptions(**{name: value})


def test_a_cost_that_nobody_could_count_is_refused() -> None:
    with pytest.raises(UsageError, match=r"above 0 and at most 1e\+15, not 1e\+308"):
        RunOptions(max_cost=1e308)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, True, 0.5, "1"])
def test_what_is_no_seed_is_refused(value: object) -> None:
    for options in (RunOptions, Selection, SimulatorOptions):
        with pytest.raises(UsageError, match="the seed must be an int, not "):
            options(seed=value)  # type: ignore[arg-type]


def test_extremes_and_numbers_of_subclasses_are_taken_and_plain() -> None:
    class Price(float):
        pass

    for seed in (-(2**63), 2**63 - 1):
        assert RunOptions(seed=seed).seed == seed
        assert Selection(seed=seed).seed == seed
    options = RunOptions(
        max_concurrency=signal.SIGTERM, max_total_tokens=2**63 - 1, timeout_s=10**300, max_cost=Price(0.5)
    )
    found = (options.max_concurrency, options.max_total_tokens, options.timeout_s, options.max_cost)
    assert found == (15, 2**63 - 1, 1e300, 0.5)
    assert [type(number) for number in found] == [int, int, float, float]


@pytest.mark.parametrize("name", ["max_concurrency", "requests_per_minute", "tokens_per_minute", "max_tokens"])
@pytest.mark.parametrize("value", [0, -1, 2**63, True, 2.0, math.nan, math.inf])
def test_what_is_no_count_is_refused_in_a_configuration(name: str, value: object) -> None:
    table = {"kind": "openai", "model": "m", "endpoint": "http://127.0.0.1/v1", name: value}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, OpenAISettings)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timeout_s", (0, -1, math.nan, math.inf, 1e300, True)),
        ("temperature", (-1, math.nan, math.inf, 1e300, True)),
        ("max_answer_mib", (0, math.nan, math.inf, 1e300, True)),
        ("retries", (-1, 101, 1.0, 2**63, True)),
    ],
)
def test_other_numbers_of_a_backend_have_bounds(name: str, values: tuple[object, ...]) -> None:
    for value in values:
        table = {"kind": "openai", "model": "m", "endpoint": "http://127.0.0.1/v1", name: value}
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(table, OpenAISettings)


def test_the_seed_of_a_simulated_backend_has_bounds() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "simulated", "seed": 2**63}, SimulatedSettings)
