"""The page that ``--report`` writes, and ``apxm report``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Apxm
from tests.reports.pages import data_of, texts_of

SOURCE = 'agent A { @entry flow f() -> str { ask("first") -> a return ask(a) } }'
SCRIPT = """
import apxm

@apxm.flow
def label(rows):
    return [apxm.ask(row) for row in apxm.each(rows)]

print(label(["x", "y"]))
"""


@pytest.fixture(autouse=True)
def program() -> None:
    Path("f.ais").write_text(SOURCE)


def test_a_run_writes_its_page_with_its_source_and_its_texts(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--latency", "constant:1", "--report", "run.html")
    assert ended.status == 0, ended.err
    page = Path("run.html").read_bytes()
    model = data_of(page)["model"]
    assert model["sources"] == [["f.ais", SOURCE]]
    assert [name for _, name, _ in texts_of(page, "a")] == ["prompt", "answer"]
    assert ended.out.strip() == model["runs"][0]["value"]


def test_a_run_that_fails_writes_its_page_too(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--latency", "constant:1", "--faults", "empty:1", "--report", "run.html")
    assert ended.status == 1
    run = data_of(Path("run.html").read_bytes())["model"]["runs"][0]
    assert (run["status"], run["failures"][0]["path"]) == ("failed", "a")


def test_what_is_told_of_each_call_and_what_is_kept_of_it_go_together(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--latency", "constant:1", "--report", "run.html", "-v")
    assert "prompt: first" in ended.err
    assert texts_of(Path("run.html").read_bytes(), "a")


def test_a_script_of_python_writes_its_page(apxm: Apxm) -> None:
    Path("s.py").write_text(SCRIPT)
    ended = apxm("run", "--latency", "constant:1", "--backend", "simulated", "--report", "run.html", "s.py")
    assert ended.status == 0, ended.err
    model = data_of(Path("run.html").read_bytes())["model"]
    assert len(model["runs"][0]["operations"]["path"]) == 2
    assert model["sources"][0][1] == SCRIPT


def test_a_page_is_no_file_that_the_run_reads_and_texts_are_left_out_of_a_page_alone(apxm: Apxm) -> None:
    ended = apxm("execute", "f.ais", "--report", "f.ais")
    assert (ended.status, "--report f.ais is the input itself" in ended.err) == (2, True)
    ended = apxm("execute", "f.ais", "--redact")
    assert (ended.status, "--redact leaves texts out of a report" in ended.err) == (2, True)
