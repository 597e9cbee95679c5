"""Random programs on simulated engines, predicted from a calibration that saw none of them: `benchmarks/engines.py`."""

from __future__ import annotations

import pytest
from benchmarks.engines import Row, misses, rows


@pytest.mark.parametrize("engine", ["constant", "chunked prefill"])
def test_programs_take_what_was_predicted(engine: str) -> None:
    found = rows(12, [engine])
    assert not [miss for miss in misses(found) if "within" not in miss]
    assert sum(row.covered for row in found) >= 6


def test_what_is_missed_is_named() -> None:
    def row(predicted: float) -> Row:
        return Row("x", 0, 1, None, predicted, predicted - 1, predicted + 1, 100.0)

    assert misses([row(100.0)] * 4 + [row(103.0)]) == []
    assert [miss.partition(",")[0] for miss in misses([row(120.0)] * 5)] == [
        "median error 20.0%",
        "95th percentile 20.0%",
        "0% within the interval of 80%",
    ]
