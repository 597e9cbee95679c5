from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm

ORDERED = """\
agent A {
    @entry flow f(kind: str) -> str {
        print("one")
        print("two")
        ask("What is it?") -> topic
        switch kind {
            case "long" => ask("Explain " + topic)
            default => ask("Answer.")
        } -> answer
        ask("Check.", answer) -> checked
        return checked
    }
}
"""


@pytest.fixture(autouse=True)
def artifact(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "ordered.ais").write_text(ORDERED)
    assert apxm("compile", "ordered.ais").status == 0


def test_text_lists_flows_operations_and_why_two_are_in_order(apxm: Apxm) -> None:
    assert apxm("inspect", "ordered.apxmobj").out == (Path(__file__).parent / "inspect.golden").read_text()


def test_json_says_the_same(apxm: Apxm) -> None:
    report = json.loads(apxm("inspect", "ordered.apxmobj", "--json").out)
    (flow,) = report["flows"]
    assert flow == {"name": "A.f", "declaration": "A.f(kind: str) -> str", "entry": True, "plan": 0}
    nodes = {node["path"]: node for node in report["plans"][0]["nodes"]}
    assert nodes["checked"]["needs"] == ["answer"]
    assert nodes["answer"]["operation"] == "switch"
    assert nodes["answer"]["needs"] == ["topic"]
    assert [report["plans"][plan]["path"] for plan in nodes["answer"]["opens"]] == [
        plan["path"] for plan in report["plans"][1:]
    ]
    (order,) = report["plans"][0]["order"]
    assert (order["first_where"], order["second_where"]) == ("ordered.ais:3:9", "ordered.ais:4:9")
    assert "program order" in order["rule"]
