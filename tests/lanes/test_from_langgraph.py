"""docs/from-langgraph.md: all three forms of each graph print the same and ask the endpoint as often, over HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apxm.simulator.process import start_simulator
from tests.documented import ROOT, blocks, environment, output_of

PAGE = (ROOT / "docs/from-langgraph.md").read_text(encoding="utf-8")
GRAPHS = {
    title: (*codes, *blocks(text, "ais"))
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    if (codes := blocks(text, "python"))
}
FAULTS = {"Routing with retry": "503:@2"}
RUN_AIS = """
import apxm

def weather(city):
    print("looking outside")
    return "It rains."

tools = {"weather": weather} if "capability" in open("graph.ais").read() else {}
print(apxm.run(apxm.compile("graph.ais"), tools=tools).value)
"""


def lines_of(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


@pytest.mark.parametrize("title", GRAPHS)
def test_all_three_print_the_same_and_make_the_same_calls(title: str, tmp_path: Path) -> None:
    printed: list[str] = []
    calls: list[int] = []
    for number, code in enumerate(GRAPHS[title]):
        with start_simulator(latency="constant:5", faults=FAULTS.get(title, "none")) as simulator:
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "graph.ais").write_text(code)
            (folder / "script.py").write_text(RUN_AIS if code.startswith("agent") else code)
            told = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": simulator.endpoint, "OPENAI_MODEL": "simulated"}
            printed.append(output_of(folder / "script.py", environment(folder, told)))
            metrics = simulator.metrics()
            answered = metrics["apxm_simulator_service_seconds_count"]
            calls.append(int(answered + sum(n for what, n in metrics.items() if "faults_total" in what)))
    assert len(set(printed)) == 1
    assert printed[0].strip()
    assert len(set(calls)) == 1
    peer, ours, ais = map(lines_of, GRAPHS[title])
    row = f"| [{title}](#{title.lower().replace(' ', '-')}) | {peer} | {ours} | {ais} | {calls[0]} |"
    assert row in PAGE.splitlines()


def test_every_graph_is_in_the_table_and_has_three_forms() -> None:
    assert PAGE.count("](#") == len(GRAPHS) == 5
    assert {len(codes) for codes in GRAPHS.values()} == {3}
