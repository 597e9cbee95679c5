"""Scripts as people write them look the same in lanes, and are over sooner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.scripts_running import HERE, NOTEBOOK, SCRIPTS, Seen, ran, ran_notebook, row

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


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("refine", "refine.py:40:5: note[carried]: each iteration needs what the one before it left in `draft`"),
        ("refine", "refine.py:62:5: warning[early-exit]: an answer may end it"),
        ("tree_search", "tree_search.py:56:5: note[carried]: each iteration needs what the one before it left"),
        (
            "summarize",
            "summarize.py:55:9: note[carried]: each iteration needs what the one before it left in `summary`",
        ),
    ],
)
def test_what_has_to_stay_line_by_line_is_explained_with_its_line(script: str, said: str) -> None:
    command = [sys.executable, "-m", "apxm", "explain", HERE / "unedited" / f"{script}.py"]
    explained = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said in explained.stdout
