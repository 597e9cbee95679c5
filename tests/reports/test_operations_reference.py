from __future__ import annotations

import json

import pytest

from apxm.errors import UsageError
from apxm.operations.catalog import OPERATIONS
from apxm.reports import operations_reference


def test_the_listing_marks_what_is_not_built_yet() -> None:
    lines = {line.split()[0]: line for line in operations_reference.listing().splitlines() if line}
    assert lines["ask"].endswith("One chat call.")
    assert lines["umem"].endswith("[later]")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_explained_with_its_arguments_and_example(name: str) -> None:
    text = operations_reference.describe(name)
    operation = OPERATIONS[name]
    assert operation.example in text
    assert all(parameter.doc in text for parameter in operation.parameters if not parameter.noted)


def test_an_unknown_operation_names_the_near_one() -> None:
    with pytest.raises(UsageError, match="did you mean merge"):
        operations_reference.describe("mrege")


def test_the_json_lists_every_operation_in_the_tables_order() -> None:
    assert [entry["name"] for entry in json.loads(operations_reference.as_json(None))] == list(OPERATIONS)
    assert json.loads(operations_reference.as_json("merge"))["effect"] == "none"


def test_the_page_shows_what_a_backend_gets_with_and_without_a_reasoning_setting() -> None:
    think = operations_reference.markdown().split("## `think`")[1].split("## `reason`")[0]
    without, with_setting = think.split("To a backend with one")
    assert "Think the problem through" in without
    assert "Think the problem through" not in with_setting
    assert 'PROMPT\n\nContext 1: FIRST\n\nContext 2: ["SECOND",2]' in without
