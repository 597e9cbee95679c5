"""A notebook, run by a kernel: flows and calls run in its cells as they stand, and results are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat.v4
import pytest

CELLS = (
    "import asyncio, sqlite3\nfrom apxm import ask, each, flow\n"
    "@flow\n"
    "def label(rows):\n"
    "    return [ask(row) for row in each(rows)]\n"
    'program = label.using(backend="simulated", latency="constant:2500", journal=False)',
    'program.run(["a", "b"])',
    "database = sqlite3.connect(':memory:')  # of this thread\n"
    "@flow\n"
    "def kept(rows):\n"
    "    for row in each(rows):\n"
    "        database.execute('select ?', [ask(row)])\n"
    "    return len(rows)\n"
    'kept.using(backend="simulated", latency="constant:1")(["a", "b"])',
    'ask("Hello")',
    'asyncio.get_running_loop()\n(await program.using(latency="constant:1").run_async(["c"])).status.value',
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    folder: Path = tmp_path_factory.mktemp("notebook")
    (folder / ".apxm").mkdir()
    (folder / ".apxm/config.toml").write_text('[backends.fast]\nkind = "simulated"\nlatency = "constant:1"\n')
    new: Any = nbformat.v4
    notebook = new.new_notebook(cells=[new.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, timeout=120).execute()
    return [cell.outputs for cell in notebook.cells]


def test_a_result_is_shown_with_its_timeline(outputs: list[list[Any]]) -> None:
    html = outputs[1][-1].data["text/html"]
    assert "succeeded" in html
    assert "<svg" in html


def test_how_far_a_run_is_stands_above_it(outputs: list[list[Any]]) -> None:
    assert outputs[1][0].data["text/plain"].startswith("2 done, 0 running, 0 waiting; 0:02")


def test_a_flow_runs_in_the_thread_of_the_notebook(outputs: list[list[Any]]) -> None:
    assert outputs[2][-1].data["text/plain"] == "2"


def test_so_does_a_call(outputs: list[list[Any]]) -> None:
    assert "Hello" in outputs[3][-1].data["text/plain"]


def test_its_own_loop_goes_on_behind_it(outputs: list[list[Any]]) -> None:
    assert outputs[4][-1].data["text/plain"] == "'succeeded'"
