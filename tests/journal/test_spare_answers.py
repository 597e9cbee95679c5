"""Answers that any operation may have which makes the same request."""

from __future__ import annotations

import pytest

from apxm.journal.rows import Answered, Answers


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ("label:9[4]", "label:9[4]"),
        ("label:10[4]", "label:9[4]"),
        ("label:10[3]", "label:9[4]"),
        ("label:9#2[4]", "label:9[4]"),
        ("label:8[9]", "label:9[7]"),
        ("label:8/helper:3", "main:2/helper:3"),
        ("other:1", "main:2/helper:3"),
    ],
)
def test_the_nearest_one_is_taken(wanted: str, taken: str) -> None:
    answers = Answers()
    for path in ("label:9[1]", "label:9[4]", "label:9[7]", "main:2/helper:3"):
        answers.add(Answered(path, b"request", "answer"))
    found = answers.take(wanted, b"request")
    assert found is not None
    assert found.path == taken
    assert len(list(answers)) == 3
    assert answers.take(wanted, b"another request") is None
