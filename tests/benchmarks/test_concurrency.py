"""The limit that is found, beside the best fixed one, on virtual time: what is promised of it."""

from __future__ import annotations

import pytest
from benchmarks.concurrency import ENDPOINTS, Endpoint, measure
from benchmarks.concurrency_rules import FixedLimit, InspectRule

from apxm.runtime.adaptive import AdaptiveLimit

BEST = {
    "none": (1500, 40),
    "usl, mild": (97, 300),
    "usl, retrograde": (44, 600),
    "at most 64, then 429": (64, 120),
    "a queue for 64": (64, 200),
}
"""The best fixed limit of each, by its formula, and for how many seconds it is compared."""


@pytest.mark.parametrize("sigma", [0, 0.5])
@pytest.mark.parametrize("name", ENDPOINTS)
def test_it_reaches_nine_tenths_of_the_best_fixed_limit_and_is_hardly_refused(name: str, sigma: float) -> None:
    limit, seconds = BEST[name]
    endpoint = ENDPOINTS[name]._replace(seconds=seconds)
    best, found = measure(endpoint, FixedLimit(limit), sigma), measure(endpoint, AdaptiveLimit(), sigma)
    assert found.settled >= 0.9 * best.settled
    assert found.refused <= 0.02


@pytest.mark.parametrize("most", [1, 4, 300])
def test_so_it_is_however_few_or_many_an_endpoint_bears(most: int) -> None:
    endpoint = Endpoint("none", f"429:>{most}", 400 if most < 100 else 60)
    found = measure(endpoint, AdaptiveLimit())
    assert found.settled >= 0.9 * measure(endpoint, FixedLimit(most)).settled
    assert found.refused <= 0.02


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_steady_stream_of_refusals_neither_freezes_it_nor_pins_it_down(share: float) -> None:
    """Each asks for a second of patience, and there are many in each second."""
    endpoint = Endpoint("none", f"429:{share}", 60, callers=1500)
    found = measure(endpoint, AdaptiveLimit())
    # Nothing but its callers limits it: a call takes 1.13 s, and `share` of them a second more.
    assert found.settled >= 0.9 * 1500 / (1.133 + share)
    assert found.levels[-1] >= 1500


def test_a_mild_load_is_not_held_up_by_rounds_that_look_for_less() -> None:
    endpoint = Endpoint("none", "none", 60, callers=300)
    assert measure(endpoint, AdaptiveLimit()).whole >= 0.98 * measure(endpoint, FixedLimit(300)).whole


def test_the_rule_of_inspect_ai() -> None:
    assert measure(Endpoint("none", "none", 30), InspectRule(), 0).levels == [20, 40, 80, 100]
    found = measure(Endpoint("none", "429:>64", 60), InspectRule(), 0)
    assert found.levels[:5] == [20, 40, 80, 60, 65]
    assert max(found.levels) <= 80
