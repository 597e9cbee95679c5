from __future__ import annotations

import json
import re
from itertools import product

import pytest

from apxm.operations.catalog import AVAILABLE
from tests.cli.conftest import ROOT, Apxm
from tests.language.diagnostic_snippets import rendered


def test_ops_lists_all_explains_one_and_suggests(apxm: Apxm) -> None:
    assert apxm("ops").out.startswith("ask ")
    assert "Tokens to think with." in apxm("ops", "think").out
    assert json.loads(apxm("ops", "ask", "--json").out)["effect"] == "model"
    assert apxm("ops", "aks") == (2, "", "error: there is no operation called 'aks'\nhint: did you mean ask?\n")


def test_the_page_of_operations_is_current(apxm: Apxm) -> None:
    assert apxm("ops", "--markdown").out == (ROOT / "docs/operations.md").read_text(), "run `make docs`"


@pytest.mark.parametrize("name", AVAILABLE)
def test_the_example_of_an_operation_is_correct(name: str) -> None:
    """For some types of the names that it takes for granted."""
    example = AVAILABLE[name].example
    given, _, made = example.partition(" -> ")
    names = sorted(set(re.findall(r"\b[a-z]\w*\b(?![(:])", re.sub(r'"[^"]*"', "", given))))
    found = [
        rendered(program(example, made, zip(names, types, strict=True)))
        for types in product(("str", "list[str]"), repeat=len(names))
    ]
    assert "correct\n" in found, found


def program(example: str, made: str, parameters: zip[tuple[str, str]]) -> str:
    signature = ", ".join(f"{name}: {type_}" for name, type_ in parameters)
    return f"agent A {{ @entry flow main({signature}) {{ {example} {f'print({made})' if made else ''} }} }}"
