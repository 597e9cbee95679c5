"""Scripts as people write them look the same in lanes, and are over sooner."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.python.scripts_running import NOTEBOOK, SCRIPTS, Seen, ran, ran_notebook, row

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "python.md").read_text().splitlines()
SECONDS = {
    "agent": (43, 5),
    "classify": (32, 3),
    "compare": (74, 3),
    "debate": (60, 6),
    "evaluate": (44, 2),
    "evolve": (42, 6),
    "judge": (93.5, 7),
    "labels": (38, 4),
    "pipeline": (65, 5),
    "refine": (49, 13),
    "summarize": (37, 7),
    "tree_search": (40, 12),
}
"""How long each takes line by line, and in lanes, at a second a call."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_looks_the_same_in_lanes(script: str) -> None:
    alone, lanes = ran(script, lanes=False), ran(script, lanes=True)
    for name, wanted, found in zip(Seen._fields, alone.seen, lanes.seen, strict=True):
        assert found == wanted, name
    assert alone.seen.raised == ""
    assert row(script, alone, lanes) in DOCUMENTED
    assert (alone.seconds, lanes.seconds) == SECONDS[script]


def test_a_notebook_does() -> None:
    alone, lanes = ran_notebook(lanes=False), ran_notebook(lanes=True)
    assert lanes.seen == alone.seen
    assert row(NOTEBOOK, alone, lanes) in DOCUMENTED
    assert (alone.seconds, lanes.seconds) == SECONDS[NOTEBOOK]


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_does_under_random_latencies(script: str) -> None:
    alone = ran(script, lanes=False, seed=3)
    assert ran(script, lanes=True, latency="lognormal:1000,0.7", seed=3).seen == alone.seen
