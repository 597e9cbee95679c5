"""`apxm graph`: rows, texts for other tools, and what is refused."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm

SOURCE = """\
agent A {
    flow deep(x: str) -> str { ask(x) -> y return y }
    @entry flow f(q: str) -> str {
        ask(q, choices: ["yes", "no"]) -> kind
        switch kind { case "yes" => ask("a") case "no" => { ask("b") -> c ask(c) -> d return d } } -> arm
        for x in ["a", "b"] (notes: "") { deep(x) -> y ask(f"{y}!", notes) -> z next notes: z } -> zs
        merge(arm, zs) -> all
        print("one")
        print("two")
        ask(all) -> last
        return last
    }
    flow wide() -> str { WIDE }
}
"""
PYTHON = """\
from apxm import ask, each, flow

def twice(text):
    return ask(ask(text))

@flow
def label(rows: list[str]) -> str:
    kinds = []
    for row in each(rows):
        answer = twice(row)
        if "unsure" in answer:
            answer = ask(f"again {row}")
        else:
            answer = ask(f"so {row}")
        kinds.append(answer)
    a = ask("x")
    b = ask("y")
    return ask(kinds[0] + a + b)
"""


@pytest.fixture(autouse=True)
def programs(tmp_path: Path) -> None:
    asks = "\n".join(f'ask("{k}") -> a{k}' for k in range(41))
    names = ", ".join(f"a{k}" for k in range(41))
    wide = f"{asks}\nmerge({names}) -> m return m"
    (tmp_path / "g.ais").write_text(SOURCE.replace("WIDE", wide))
    (tmp_path / "label.py").write_text(PYTHON)


def rows(text: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in text.splitlines()[1:]]


def test_a_row_for_each_operation_by_level_with_what_it_needs(apxm: Apxm) -> None:
    ended = apxm("graph", "g.ais")
    assert ended.status == 0
    assert ended.out.splitlines()[0] == "A.f: 10 operations in 5 levels"
    turns = "(zs: turns, each from the one before)"
    assert rows(ended.out) == [
        ["1", "kind", "ask", "g.ais:4:9"],
        ["zs/y/y", "ask", "g.ais:2:32", turns],
        ["print#1", "print", "g.ais:8:9"],
        ["2", "arm/no/c", "ask", "g.ais:5:61", "(arm: no)", "← kind"],
        ["arm/yes/ask#1", "ask", "g.ais:5:37", "(arm: yes)", "← kind"],
        ["zs/z", "ask", "g.ais:6:56", turns, "← zs/y/y"],
        ["print#2", "print", "g.ais:9:9", "← (print#1)"],
        ["3", "arm/no/d", "ask", "g.ais:5:75", "(arm: no)", "← arm/no/c"],
        ["4", "all", "merge", "g.ais:7:9", "← kind, arm/no/d, arm/yes/ask#1, zs/z"],
        ["5", "last", "ask", "g.ais:10:9", "← all"],
    ]


def test_an_artifact_has_the_same_graph(apxm: Apxm) -> None:
    apxm("compile", "g.ais", "-o", "g.apxmobj")
    assert apxm("graph", "g.apxmobj").out == apxm("graph", "g.ais").out


def test_python_is_drawn_by_what_its_text_says(apxm: Apxm) -> None:
    ended = apxm("graph", "label.py")
    assert ended.out.splitlines()[0] == "label: 7 operations in 5 levels"
    names = {row[1] if row[0].isdecimal() else row[0]: row[-1] for row in rows(ended.out)}
    assert names == {
        "twice:4": "(twice)",
        "twice:4#2": "← twice:4",
        "label:12": "← twice:4#2",
        "label:14": "← twice:4#2",
        "label:16": "← label:12, label:14",
        "label:17": "← label:12, label:14",
        "label:18": "← label:16, label:17",
    }
    found = json.loads(apxm("graph", "label.py", "--json").out)
    assert "for over rows: overlap" in [group["label"] for group in found["groups"]]
    assert apxm("graph", "label.py", "--flow", "twice").out.splitlines()[0] == "twice: 2 operations in 2 levels"


def test_dot_and_mermaid_hold_each_operation_in_its_group(apxm: Apxm, tmp_path: Path) -> None:
    assert apxm("graph", "g.ais", "-o", "g.dot").status == 0
    dot = (tmp_path / "g.dot").read_text()
    assert dot.count(" [label=") == 10
    assert re.search(r'subgraph cluster_\d+ {\s+label="arm: no";\s+n\d+ \[label="arm/no/c\\nask"\];', dot)
    assert dot.count("style=dashed") == 1
    assert dot.count("{") == dot.count("}")
    assert apxm("graph", "g.ais", "-o", "g.mmd").status == 0
    mermaid = (tmp_path / "g.mmd").read_text()
    assert mermaid.startswith("flowchart TD\n")
    assert mermaid.count("subgraph ") == mermaid.count("\n  end")
    assert "-.->" in mermaid


def test_what_a_label_says_means_nothing_to_the_tools(apxm: Apxm, tmp_path: Path) -> None:
    case = 'a"];x-->y]\\\\ </b>'
    arms = 'case CASE => ask("1") default => ask("2")'
    text = f"agent A {{ @entry flow f(q: str) -> str {{ switch q {{ {arms} }} -> a return a }} }}"
    (tmp_path / "h.ais").write_text(text.replace("CASE", json.dumps(case)))
    apxm("graph", "h.ais", "-o", "h.dot")
    apxm("graph", "h.ais", "-o", "h.mmd")
    for line in (tmp_path / "h.dot").read_text().splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0
    for line in (tmp_path / "h.mmd").read_text().splitlines():
        if '"' in line:
            (inside,) = re.findall(r'"(.*)"', line)
            assert not set(inside.replace("<br/>", "")) & set('"<>[]\\')


def test_a_picture_is_laid_out_by_graphviz(apxm: Apxm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = apxm("graph", "g.ais", "-o", "g.svg")
    assert ended.status == 2
    assert "`dot` is not found" in ended.err
    assert ".mmd" in ended.err
    assert not (tmp_path / "g.svg").exists()
    dot = tmp_path / "dot"
    dot.write_text('#!/bin/sh\n[ "$1" = -Tsvg ] || exit 1\nread first; echo "<svg>$first</svg>"\n')
    dot.chmod(dot.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert apxm("graph", "g.ais", "-o", "g.svg").status == 0
    assert (tmp_path / "g.svg").read_text() == '<svg>digraph "A.f" {</svg>\n'


def test_what_cannot_be_shown_says_so(apxm: Apxm) -> None:
    wide = apxm("graph", "g.ais", "--flow", "wide")
    assert wide.status == 2
    assert "A.wide has 42 operations, and a terminal shows up to 40" in wide.err
    assert len(json.loads(apxm("graph", "g.ais", "--flow", "wide", "--json").out)["nodes"]) == 42
    assert "one of .svg, .dot, .mmd" in apxm("graph", "g.ais", "-o", "g.png").err
    assert "-o g.ais" in apxm("graph", "g.ais", "-o", "g.ais").err
    assert "no function 'nope' here calls a model" in apxm("graph", "label.py", "--flow", "nope").err
