"""What the pages name is there: options and commands of `apxm`, what `import apxm` has, and files of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from website.links import ROOT, read

import apxm
from apxm.cli.app import application
from tests.documentation.test_links import PAGES

COMMAND = get_command(application())
OTHERS = {
    "--concurrency",  # coverage
    "--continuous-batching",  # transformers serve
    "--drain",  # examples/service
    "--emit-",  # several
    "--exclude",  # pip
    "--quick",  # the benchmarks
    "--rounds",
    "--whole",
    "--timeout-worker-healthcheck",  # uvicorn
}
"""Options of other programs."""
TIMELESS = [page for page in PAGES if page.parts[:2] != ("docs", "design") and page != Path("CHANGELOG.md")]
"""Pages that say how things are, and not how they were."""


def options(command: object) -> Iterator[str]:
    for parameter in getattr(command, "params", ()):
        yield from (*parameter.opts, *parameter.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from options(below)


OPTIONS = {*options(COMMAND), "--help", "--version", *OTHERS}


@pytest.mark.parametrize("page", TIMELESS, ids=str)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = read(page)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert named - OPTIONS == set()
    commands = set(re.findall(r"(?:^|`)(?:\$ )?apxm ([a-z]+)\b", text, re.MULTILINE))
    assert commands - set(getattr(COMMAND, "commands", {})) == set()
    names = set(re.findall(r"\bapxm\.([A-Za-z]\w*)\b(?!\.)", text))
    assert {
        name for name in names if not hasattr(apxm, name) and not list((ROOT / "src/apxm").glob(f"{name}*"))
    } == set()


def test_the_files_that_the_architecture_names_are_there() -> None:
    named = re.findall(r"`((?:\w+/)+[\w.-]+\.(?:py|lark|md|yml))`", read(Path("docs/architecture.md")))
    rooms = (ROOT, ROOT / "src/apxm", *(ROOT / "src/apxm").iterdir(), ROOT / "docs")
    assert [path for path in named if not any((room / path).exists() for room in rooms)] == []
