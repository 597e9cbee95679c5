"""Whether a schema of a tool fits its declaration, whatever a server writes into it."""

from __future__ import annotations

from typing import Any

import pytest

from apxm.operations.types import STR, list_of
from apxm.tools.schemas import Declaration, misfits

DECLARED = Declaration("", {"q": STR}, list_of(STR))


UNUSUAL: list[dict[str, Any]] = [
    {"properties": {"q": True}},
    {"properties": {"q": None}, "required": None},
    {"properties": {"q": {"type": [{}, None]}}, "required": [[], 1, "q"]},
    {"properties": {"q": {"type": ["string", None]}}, "required": 5},
]


@pytest.mark.parametrize("taken", UNUSUAL)
def test_what_a_schema_does_not_say_is_left_to_the_call(taken: dict[str, Any]) -> None:
    assert misfits(DECLARED, taken, {"type": "array", "items": True}) == []


@pytest.mark.parametrize("properties", [None, [], True])
def test_properties_that_are_none_are_no_parameters(properties: object) -> None:
    taken = {"properties": properties, "required": ["x"]}
    assert misfits(DECLARED, taken, {"type": [1, "object"]}) == [
        "it has no parameter 'q'",
        "it needs 'x', which is not declared",
        "it gives object, declared as list[str]",
    ]
