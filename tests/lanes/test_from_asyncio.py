"""docs/from-asyncio.md: both scripts of each pair print the same and ask the endpoint as often, over real HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apxm.simulator.process import start_simulator
from tests.documented import ROOT, blocks, environment, output_of

PAGE = (ROOT / "docs/from-asyncio.md").read_text(encoding="utf-8")
PAIRS = {
    title: codes
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    if (codes := blocks(text, "python"))
}
FAULTS = {"Retries with tenacity": "503:@2", "Failures that are kept": "500:@2"}


def lines_of(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


@pytest.mark.parametrize("title", PAIRS)
def test_both_sides_print_the_same_and_make_the_same_calls(title: str, tmp_path: Path) -> None:
    before, after = PAIRS[title]
    printed: list[str] = []
    calls: list[int] = []
    for name, code in (("before", before), ("after", after)):
        with start_simulator(latency="constant:5", faults=FAULTS.get(title, "none")) as simulator:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "script.py").write_text(code)
            told = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": simulator.endpoint, "OPENAI_MODEL": "simulated"}
            printed.append(output_of(folder / "script.py", environment(folder, told)))
            metrics = simulator.metrics()
            answered = metrics["apxm_simulator_service_seconds_count"]
            calls.append(int(answered + sum(n for what, n in metrics.items() if "faults_total" in what)))
    assert printed[0] == printed[1] != ""
    assert calls[0] == calls[1]
    row = f"| [{title}](#{title.lower().replace(' ', '-')}) | {lines_of(before)} | {lines_of(after)} | {calls[0]} |"
    assert row in PAGE.splitlines()


def test_every_pair_is_in_the_table() -> None:
    assert PAGE.count("](#") == len(PAIRS)
