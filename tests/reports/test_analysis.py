"""What `apxm simulate` says of its runs."""

from __future__ import annotations

import pytest

from apxm.analysis.predict import Prediction
from apxm.reports.analysis import prediction_text


@pytest.mark.parametrize(("asked", "certain"), [(1, False), (20, True)])
def test_one_run_of_many_asked_for_says_that_nothing_is_random(asked: int, certain: bool) -> None:
    text = prediction_text(Prediction(1000.0, (1000.0, 1000.0), (1000.0,), 8.0), asked)
    assert text.startswith("1 simulated run, 8 LLM calls each: 1.00 s")
    assert text.endswith("(nothing in it is random)") == certain
