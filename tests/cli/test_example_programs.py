"""The programs in `examples/`: their examples hold, and the commands of each README work."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Apxm
from tests.documented import blocks

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*/*.ais"))


def test_there_are_seven_and_each_has_a_page() -> None:
    assert len(PROGRAMS) == 7
    assert all(program.stem == program.parent.name for program in PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_every_command_of_the_page_works(program: Path, apxm: Apxm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    page = (program.parent / "README.md").read_text()
    commands = [line for block in blocks(page, "bash") for line in block.splitlines()]
    assert {shlex.split(command)[1] for command in commands} == {"execute", "test"}
    for command in commands:
        ended = apxm(*shlex.split(command)[1:])
        assert ended.status == 0, ended.err
