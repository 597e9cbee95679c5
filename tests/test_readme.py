"""What the README and the workload's README show works as they show it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from apxm.config.document import Document
from apxm.simulator.process import start_simulator
from tests.documented import blocks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKLOAD = "workloads/4_scalability"
WORKLOAD_README = (ROOT / WORKLOAD / "README.md").read_text(encoding="utf-8")

WITH_A_MODEL = README.partition("### With a real model")[2].partition("\n### ")[0]

FAST = ["--latency", "constant:1"]
FASTER = {"execute": FAST, "run": FAST, "workloads": [*FAST, "--iterations", "1", "--apxm-only"]}


def commands(text: str, program: str) -> list[list[str]]:
    lines = [line.split("#")[0].split() for block in blocks(text, "bash") for line in block.splitlines()]
    return [words[1:] for words in lines if words[:1] == [program]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home with nothing in it, and a key that must not be used by what promises to cost nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "APXM_", "XDG_"))}
    return {**kept, "HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "error"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("workloads", "examples/label"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
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


@pytest.mark.parametrize(("text", "folder"), [(README, "."), (WORKLOAD_README, WORKLOAD)], ids=["root", "workload"])
def test_every_apxm_command_works_in_the_order_shown(
    text: str, folder: str, checkout: Path, environment: dict[str, str]
) -> None:
    shown = commands(text.replace(WITH_A_MODEL, ""), "apxm")
    assert len(shown) >= 5
    for arguments in shown:
        # The same command with a faster model: the seconds it would take are not what is tested.
        result = run(["-m", "apxm", *arguments, *FASTER.get(arguments[0], [])], checkout / folder, environment)
        assert result.returncode == 0, (arguments, result.stderr)


def test_the_way_to_a_real_model_works_to_the_letter(checkout: Path, environment: dict[str, str]) -> None:
    shown = commands(WITH_A_MODEL, "apxm")
    assert [arguments[0] for arguments in shown] == ["init", "backends", "execute"]
    (edited,) = blocks(WITH_A_MODEL, "toml")
    with start_simulator(latency="constant:1") as simulator:

        def ended(arguments: list[str]) -> str:
            there = [simulator.endpoint if word == "http://127.0.0.1:8000/v1" else word for word in arguments]
            result = run(["-m", "apxm", *there], checkout, environment)
            assert result.returncode == 0, (arguments, result.stderr)
            return result.stderr

        for arguments in shown:
            said = ended(arguments)
        assert f"model: simulated at {simulator.endpoint}" in said
        # The file as it is shown, which is that of `init` after an edit.
        (checkout / ".apxm/config.toml").write_text(edited.replace("http://127.0.0.1:8000/v1", simulator.endpoint))
        assert f"model: qwen3-8b at {simulator.endpoint}" in ended(shown[-1])


def test_the_flow_shown_is_that_of_its_example() -> None:
    shown, _ = blocks(README, "python")
    assert (ROOT / "examples/label/label.py").read_text(encoding="utf-8").startswith(shown + "\n")


def test_the_python_example_works(checkout: Path, environment: dict[str, str]) -> None:
    _, example = blocks(README, "python")
    result = run(["-c", example], checkout, environment)
    assert result.returncode == 0, result.stderr
    answers = result.stdout.splitlines()
    assert [answer.split(": ")[1] for answer in answers[:4]] == ["Task A", "Task B", "Task C", "Task D"]
    assert float(answers[4]) > 1


def test_the_configuration_shown_is_one() -> None:
    (example,) = blocks(README, "toml")
    assert Document("config.toml", example.encode()).config.default_backend == "local"


def test_the_make_targets_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {target for (target, *_) in commands(README, "make")}
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


def test_every_measured_number_is_one_that_a_benchmark_printed() -> None:
    section = README.partition("## Measured")[2].partition("\n## ")[0]
    pages = [ROOT / "benchmarks/results.md", *(ROOT / "benchmarks/results").glob("*.md")]
    printed = {line for page in pages for line in page.read_text(encoding="utf-8").splitlines()}
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert [row for row in rows if row not in printed] == []
