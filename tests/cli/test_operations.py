from __future__ import annotations

import json

from tests.cli.conftest import ROOT, Apxm


def test_ops_lists_all_explains_one_and_suggests(apxm: Apxm) -> None:
    assert apxm("ops").out.startswith("ask ")
    assert "Tokens to think with." in apxm("ops", "think").out
    assert json.loads(apxm("ops", "ask", "--json").out)["effect"] == "model"
    assert apxm("ops", "aks") == (2, "", "error: there is no operation called 'aks'\nhint: did you mean ask?\n")


def test_the_page_of_operations_is_current(apxm: Apxm) -> None:
    assert apxm("ops", "--markdown").out == (ROOT / "docs/operations.md").read_text(), "run `make docs`"
