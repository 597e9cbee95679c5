"""Advice from one trace, held against a run with the change made: one case of each kind."""

from __future__ import annotations

import pytest
from benchmarks.advice import KINDS, Row, misses, row, table
from msgspec.structs import replace

SEED = 1


@pytest.fixture(scope="module")
def found() -> dict[str, Row]:
    return {kind: row(kind, SEED) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_does_what_was_told(found: dict[str, Row], kind: str) -> None:
    case = found[kind]
    assert case.fits
    assert case.is_right, (case.predicted_ms, case.measured_ms)
    assert abs(case.error) <= 0.10


def test_a_missed_target_is_told(found: dict[str, Row]) -> None:
    cases = [*found.values()]
    assert misses(cases) == []
    wrong = [replace(each, predicted_ms=2 * each.duration_ms, measured_ms=each.duration_ms / 2) for each in cases]
    assert misses(wrong) == [
        "the direction is right in 0% of all cases, target 95%",
        "median error 300.0%, allowed 10%",
    ]


def test_a_table_counts_every_case_once(found: dict[str, Row]) -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table([*found.values()], "change")[2:]]
    assert rows[-1][:3] == ["all", str(len(KINDS)), str(len(KINDS))]
    assert sum(int(each[1]) for each in rows[:-1]) == len(KINDS)
