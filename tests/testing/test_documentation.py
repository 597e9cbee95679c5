"""What docs/testing.md shows works, and is what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import apxm as apxm  # the command, in this process

PAGE = (Path(__file__).parents[2] / "docs/testing.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return PAGE.partition(f"```{language}\n")[2].partition("```")[0]


@pytest.fixture(autouse=True)
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "summary.ais").write_text(block("ais"))
    monkeypatch.chdir(tmp_path)


def test_the_examples_pass_and_are_shown_so(apxm: Any) -> None:
    *lines, last = re.findall(r"^    (summary\.ais:.*|4 examples.*)$", PAGE, re.MULTILINE)
    ended = apxm("test", "summary.ais")
    assert (ended.status, ended.out.splitlines(), ended.err) == (0, lines, f"{last}\n")


def test_the_python_example_passes() -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
