"""Every block of Python in docs/python.md runs as it stands, in a folder with the files that blocks before it are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documented import ROOT, blocks, environment, name_of, output_of

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
BLOCKS = blocks(PAGE, "python")
FILES = {name: block for block in BLOCKS if (name := name_of(block))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files that the page makes, and a model that answers at once."""
    for name, block in FILES.items():
        (tmp_path / name).write_text(block)
    config = tmp_path / ".apxm/config.toml"
    config.parent.mkdir()
    config.write_text('[backends.fast]\nkind = "simulated"\nlatency = "constant:50"\n')
    return tmp_path


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_python_runs_as_it_stands(number: int, folder: Path) -> None:
    script = folder / (name_of(BLOCKS[number]) or "example.py")
    script.write_text(BLOCKS[number])
    output_of(script, environment(folder))


def test_the_first_script_prints_what_the_page_says(folder: Path) -> None:
    said = blocks(PAGE, "text")[0].splitlines()
    printed = output_of(folder / "label.py", environment(folder)).splitlines()
    assert printed[:-1] == said[:-1]
    assert printed[-1].partition(",")[0] == said[-1].partition(",")[0]


def test_the_run_that_goes_on_asks_nothing_again(folder: Path) -> None:
    (block,) = (block for block in BLOCKS if "resume(" in block)
    (folder / "example.py").write_text(block)
    printed = output_of(folder / "example.py", environment(folder))
    assert printed.splitlines()[-1] == "3 answers were there already"
