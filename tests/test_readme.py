"""What the READMEs say of the demo, the workload and what was measured. Their code is run by tests/documentation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import apxm
from apxm.testing import run_virtually
from tests.documented import blocks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKLOAD = "workloads/4_scalability"
WORKLOAD_README = (ROOT / WORKLOAD / "README.md").read_text(encoding="utf-8")
MEASURED = ("docs/performance.md", "docs/workloads.md", "docs/real-engine.md", "docs/advice.md")
RESULTS = (ROOT / "benchmarks/results.md").read_text(encoding="utf-8").splitlines()

FAST = ["--latency", "constant:1"]
FASTER = {"execute": FAST, "run": FAST, "workloads": [*FAST, "--iterations", "1", "--apxm-only"]}


def commands(text: str, language: str = "bash") -> list[list[str]]:
    return [line.split("#")[0].split() for block in blocks(text, language) for line in block.splitlines()]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home with nothing in it, and a key that must not be used by what promises to cost nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "APXM_", "XDG_"))}
    return {**kept, "HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "error"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "workloads", tmp_path / "workloads")
    return tmp_path


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_command_of_the_workload_works_in_the_order_shown(checkout: Path, environment: dict[str, str]) -> None:
    shown = [words[1:] for words in commands(WORKLOAD_README) if words[:1] == ["apxm"]]
    assert len(shown) >= 5
    for arguments in shown:
        # The same command with a faster model: the seconds it would take are not what is tested.
        result = run(["-m", "apxm", *arguments, *FASTER.get(arguments[0], [])], checkout / WORKLOAD, environment)
        assert result.returncode == 0, (arguments, result.stderr)


def test_the_two_programs_of_the_readme_are_one_and_take_the_time_that_is_said(
    checkout: Path, environment: dict[str, str]
) -> None:
    program = apxm.compile_text(blocks(README, "ais")[0])
    told = {"backend": "simulated", "latency": "lognormal:800,0.4"}
    result = run_virtually(apxm.run_async(program, topic="bees", **told))
    work, span = (f"{ms / 1000:.1f} s" for ms in (result.metrics.work_span.t1_ms, result.metrics.work_span.t_inf_ms))
    assert f"Ten calls, {work} one after the other, take {span}" in README
    (checkout / "article.py").write_text(blocks(README, "python")[0])
    same = run(["-m", "apxm", "run", *FAST, "article.py"], checkout, environment)
    assert same.stdout == f"{result.value}\n"


def test_the_make_targets_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {words[2] for words in commands(README, "console") if words[:2] == ["$", "make"]}
    assert named == {"demo", "test"}
    assert all(f"\n{target}:" in makefile for target in named)


def test_the_demo_never_calls_a_real_model_and_says_what_to_type_next(
    checkout: Path, environment: dict[str, str]
) -> None:
    config = checkout / ".apxm/config.toml"
    config.parent.mkdir()
    config.write_text('[backends.paid]\nkind = "openai"\nmodel = "m"\nendpoint = "http://127.0.0.1:1/v1"\n')
    environment |= {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "APXM_TRUST": "1"}
    result = run([f"{WORKLOAD}/demo.py"], checkout, environment)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    table = lines.index("N    duration    speedup")
    assert [line.split()[0] for line in lines[table + 1 : table + 4]] == ["2", "4", "8"]
    assert lines[table] in README
    assert any(line.endswith(f"apxm execute {WORKLOAD}/workflow.ais") for line in lines[table + 4 :])


def test_the_demo_ends_in_silence_when_nobody_reads_on(checkout: Path, environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, f"{WORKLOAD}/demo.py"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("page", MEASURED)
def test_every_measured_number_is_one_that_a_benchmark_printed(page: str) -> None:
    section = (ROOT / page).read_text(encoding="utf-8").partition("## Measured")[2].partition("\n## ")[0]
    pages = [ROOT / "benchmarks/results.md", *(ROOT / "benchmarks/results").glob("*.md")]
    printed = {line for page in pages for line in page.read_text(encoding="utf-8").splitlines()}
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert len(rows) > 15
    assert [row for row in rows if row not in printed] == []


def measured(row: str, column: int) -> str:
    """The median in a column of the first row that begins so, as a benchmark printed it."""
    found = next(line for line in RESULTS if line.startswith(row))
    return found.split("|")[column].split("[")[0].strip()


@pytest.mark.parametrize(
    ("what", "row", "peer", "columns", "unit"),
    [
        (
            "1,024 calls at once over HTTP, until all are answered",
            "| 1,024 | A-PXM  ",
            "| 1,024 | LangGraph with ChatOpenAI",
            (3, 3),
            "s",
        ),
        (
            "processor time of each of these calls",
            "| 1,024 | A-PXM  ",
            "| 1,024 | LangGraph with ChatOpenAI",
            (5, 5),
            "µs",
        ),
        (
            "what the scheduler takes for a step of a chain of 1,000",
            "| chain   |      1,000 |",
            "| chain   |      1,000 |",
            (3, 5),
            "µs",
        ),
    ],
)
def test_a_ratio_of_the_readme_is_that_of_what_a_benchmark_printed(
    what: str, row: str, peer: str, columns: tuple[int, int], unit: str
) -> None:
    ours, theirs = measured(row, columns[0]), measured(peer, columns[1])
    ratio = float(theirs.replace(",", "")) / float(ours.replace(",", ""))
    assert f"| {what} | {ours} {unit} | {theirs} {unit} | {ratio:.2g} × |" in README.splitlines()
