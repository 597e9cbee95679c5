"""The short form of every performance benchmark: it shows that each script works, and judges nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import NAMES
from benchmarks.report import Claim, Section, digits

from apxm.workloads.langgraph_system import missing_packages

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(missing_packages()), reason="needs the extra bench")
@pytest.mark.parametrize("name", NAMES)
def test_it_works(name: str, tmp_path: Path) -> None:
    output = tmp_path / "results.md"
    command = [sys.executable, "-m", "benchmarks", "--quick", "-o", str(output), name]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    text = output.read_text()
    assert text.count("\n## ") == 1
    assert "|--" in text
    assert "Wanted" not in text, "what is measured in a hurry proves nothing"
    assert (tmp_path / "results" / "performance.json").stat().st_size > 10


def test_a_missed_target_is_called_missed() -> None:
    section = Section("T", "C", claims=[Claim("less", 2.0, 1.0), Claim("more", 2.0, 1.0, at_least=True, unit=" x")])
    lines = section.text().splitlines()
    assert [cell.strip() for cell in lines[-2].split("|")[1:-1]] == ["less", "2.00", "≤ 1", "NO"]
    assert [cell.strip() for cell in lines[-1].split("|")[1:-1]] == ["more", "2.00 x", "≥ 1 x", "yes"]


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_three_digits_count(value: float, shown: str) -> None:
    assert digits(value) == shown
