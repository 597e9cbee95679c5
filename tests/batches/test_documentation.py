"""Every block of Python in docs/batches.md runs as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documented import ROOT, blocks, environment, output_of

BLOCKS = blocks((ROOT / "docs/batches.md").read_text(encoding="utf-8"), "python")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_python_runs_as_it_stands(number: int, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(BLOCKS[number])
    assert output_of(script, environment(tmp_path))
