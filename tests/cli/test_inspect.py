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
    assert flow == {"name": "A.f", "declaration": "A.f(kind: str) -> str", "entry": True, "plan": 0, "total_nodes": 6}
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


CALLING = """\
agent A {
    flow inner(topic: str) -> str { ask(topic) -> a ask(topic, a) -> b return b }
    @entry flow outer(kind: str) -> str {
        inner(kind) -> first
        switch kind {
            case "long" => inner(first)
            default => ask("Answer.")
        } -> answer
        return answer
    }
}
"""


def test_nodes_are_counted_as_in_the_diagnostics(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "calling.ais").write_text(CALLING)
    apxm("compile", "calling.ais", "-O0", "--emit-diagnostics", "d.json")
    diagnosed = json.loads((tmp_path / "d.json").read_text())["flows"]
    lines = apxm("inspect", "calling.apxmobj").out.splitlines()
    assert lines[2:5] == [
        "flows:",
        "  A.inner(topic: str) -> str  2 nodes",
        "  A.outer(kind: str) -> str   5 nodes  (entry)",
    ]
    assert "A.outer: 0 nodes, 2 constructs" in lines
    flows = json.loads(apxm("inspect", "calling.apxmobj", "--json").out)["flows"]
    assert {flow["name"]: flow["total_nodes"] for flow in flows} == {
        name: statistics["total_nodes"] for name, statistics in diagnosed.items()
    }


def test_constructs_are_called_what_the_source_calls_them(apxm: Apxm, tmp_path: Path) -> None:
    (tmp_path / "constructs.ais").write_text("""agent A { flow main(n: int) -> str {
        loop (max: 3, x: "a") { until ask("done?", x, schema: bool)  next x: ask("more", x) } -> r
        if n > 2 and ask("sure?", schema: bool) { return "a" } else { return "b" } -> kind
        for i in ["a"] { print(i) }
        return r + kind
    } }""")
    apxm("compile", "constructs.ais")
    plans = json.loads(apxm("inspect", "constructs.apxmobj", "--json").out)["plans"]
    found = {node["path"]: node["operation"] for plan in plans for node in plan["nodes"] if node["opens"]}
    assert found == {"r": "loop", "r/until#1": "until", "and#1": "and", "kind": "if", "for#1": "for"}
