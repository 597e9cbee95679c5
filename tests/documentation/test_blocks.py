"""The code of the pages: whatever can be run is run, in the order of its page, as a reader would who types it all."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from website.links import ROOT, read

from apxm.config.document import Document
from apxm.simulator.process import start_simulator
from tests.cli.conftest import Apxm
from tests.cli.conftest import apxm as apxm  # the command, in this process
from tests.documentation.test_links import PAGES
from tests.documented import environment
from tests.language.diagnostic_snippets import rendered

ENDPOINT = "http://127.0.0.1:8000/v1"
"""Where pages have a model; what is run finds a simulator there."""

NUMBER = r"\d[\d,]*(?:\\\.\d+)?"
FAST = '[backends.simulated]\nkind = "simulated"\nlatency = "constant:20"\n'


@dataclass(frozen=True)
class Block:
    """Code of a page: `text` is anything that nobody types, and `console` what cannot be run in a test."""

    language: str
    code: str
    line: int
    follows: bool
    """Whether nothing stands between it and the block before it: then it is what that one printed."""

    @property
    def file(self) -> str | None:
        """The path that a comment in its first line says."""
        named = re.match(r"(?:#|//) ([\w./-]+\.\w+)\n", self.code)
        return named and named[1]


@dataclass(frozen=True)
class Session:
    """What a page takes for granted: files that are there, and how code begins that goes on with what was said."""

    files: Mapping[str, str] = field(default_factory=dict)
    prelude: str = ""


LABEL = """\
agent Labels {
    @entry flow main(text: str) -> str { return ask("Label this.", text) }
}
"""
SESSIONS = {
    "README.md": Session(),
    "docs/advice.md": Session(),
    "docs/batches.md": Session({"label.ais": LABEL, "rows.csv": "text\na bee\na stone\n"}),
    "docs/backends.md": Session(),
    "docs/config.md": Session(),
    "docs/failures.md": Session(),
    "docs/numbers.md": Session(),
    "docs/python.md": Session({"rows.jsonl": "{}\n"}),
    "docs/resume.md": Session(
        prelude="import apxm\nprogram = apxm.compile_text("
        "'agent A { @entry flow main(topic: str) -> str { return ask(topic) } }')\n"
    ),
    "docs/simulator.md": Session(),
    "docs/start.md": Session(),
    "docs/testing.md": Session(),
    "docs/tools.md": Session(),
    "docs/traces.md": Session({"workflow.ais": read(Path("workloads/4_scalability/workflow.ais"))}),
    "examples/label/README.md": Session({"label.py": read(Path("examples/label/label.py"))}),
}
"""The pages whose commands, and blocks of Python, are run here."""

ELSEWHERE = {
    "docs/from-asyncio.md": "tests/lanes/test_from_asyncio.py",
    "docs/from-langgraph.md": "tests/lanes/test_from_langgraph.py",
    "docs/service.md": "tests/services/test_documentation.py",
    "workloads/4_scalability/README.md": "tests/test_readme.py",
    **{str(page): "tests/cli/test_example_programs.py" for page in PAGES if any((ROOT / page.parent).glob("*.ais"))},
}
"""The tests that run what the other pages have."""

INDENTED = {
    "docs/reports.md": "being written anew",
    "docs/resume.md": "being written anew",
}


def blocks(page: str | Path) -> Iterator[Block]:
    text = read(Path(page))
    for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        before = text[: found.start()]
        yield Block(found[1], found[2], before.count("\n") + 1, before.endswith("```\n\n"))


def all_of(language: str) -> list[tuple[Path, Block]]:
    return [(page, block) for page in PAGES for block in blocks(page) if block.language == language]


def named(found: object) -> str | None:
    return str(found) if isinstance(found, Path) else f"{found.line}" if isinstance(found, Block) else None


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_says_what_it_is_and_what_can_be_run_is(page: Path) -> None:
    found = {block.language for block in blocks(page)}
    assert found <= {"ais", "bash", "console", "json", "python", "text", "toml"}
    if found & {"bash", "python"}:
        assert (str(page) in SESSIONS) != (str(page) in ELSEWHERE)


PIECES = Path("docs/operations.md")
"""What it has of AIS are pieces of programs; tests/cli/test_operations.py checks them."""


@pytest.mark.parametrize(("page", "block"), [found for found in all_of("ais") if found[0] != PIECES], ids=named)
def test_a_program_is_correct(page: Path, block: Block) -> None:
    assert rendered(block.code) == "correct\n", page


@pytest.mark.parametrize(("page", "block"), all_of("toml"), ids=named)
def test_a_configuration_is_one(page: Path, block: Block) -> None:
    assert tomllib.loads(block.code)
    Document(str(page), block.code.encode())


@pytest.mark.parametrize(("page", "block"), all_of("json"), ids=named)
def test_json_is_json(page: Path, block: Block) -> None:
    assert json.loads(block.code) is not None, page


@pytest.mark.parametrize(("page", "block"), all_of("console"), ids=named)
def test_what_cannot_be_run_here_is_a_command_all_the_same(page: Path, block: Block, apxm: Apxm) -> None:
    for line in re.findall(r"^\$ (.*)", block.code, re.MULTILINE):
        words = shlex.split(line, comments=True)
        command = next(number for number, word in enumerate(words) if "=" not in word)
        if words[command] == "apxm":
            assert apxm(*words[command + 1 :], "--help").status == 0, f"{page}: {line}"
        elif words[command] == "make":
            assert f"\n{words[command + 1]}:" in read(Path("Makefile")), f"{page}: {line}"


@pytest.mark.parametrize("page", [page for page in PAGES if str(page) not in INDENTED], ids=str)
def test_code_stands_in_fences(page: Path) -> None:
    """Else no test sees it. What is indented below an item of a list is no code."""
    prose = re.sub(r"^```.*?^```$", "```", read(page), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^(?! *(?:[-*]|\d+\.) | {2,}).*\n\n    .*", prose, re.MULTILINE) == []


@pytest.mark.skipif(sys.platform == "win32", reason="what pages have for a shell is for bash")
@pytest.mark.parametrize("page", SESSIONS)
def test_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    with start_simulator(latency="constant:5") as simulator:
        terminal = Terminal(tmp_path, simulator.endpoint)
        for name, content in SESSIONS[page].files.items():
            terminal.write(name, content)
        said: str | None = None
        for block in blocks(page):
            where = f"{page}:{block.line}"
            if block.language == "text" and said is not None and block.follows:
                missing = [line for line in block.code.splitlines() if not re.search(pattern(line), said, re.MULTILINE)]
                assert missing == [], f"{where}: {said}"
            said = None
            if block.file:
                terminal.write(block.file, block.code)
            elif block.language == "bash":
                said = terminal.run(block.code, where)
            elif block.language == "python":
                terminal.write("example.py", SESSIONS[page].prelude + block.code)
                said = terminal.run("python example.py", where)


def pattern(line: str) -> str:
    """What a line of output may be that is shown so: with other numbers, times and ids, and anything for `…`."""
    shown = re.escape(line).replace("…", ".*")
    shown = re.sub(r"\d{8}\\-\d{6}\\-\w{4}", r"[-\\w]+", shown)
    shown = re.sub(rf"{NUMBER}(\\ (s|ms|min|h)\b(\\ {NUMBER}\\ (s|min)\b)*)", r"[\\w., ]+", shown)
    return "^" + re.sub(rf"(?<![\w{{\\]){NUMBER}", r"[\\d,.]+", shown) + "$"


class Terminal:
    """A reader's: a folder, a simulated model in a hurry, and variables that one command sets for those behind it."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.home, self.folder, self.bin = folder / "home", folder / "work", folder / "bin"
        self.endpoint = endpoint
        for place in (self.home, self.folder, self.bin):
            place.mkdir()
        for name, module in (("python", ""), ("apxm", "-m apxm")):
            (self.bin / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            (self.bin / name).chmod(0o755)
        (self.home / "variables").touch()
        (self.home / ".config/apxm").mkdir(parents=True)
        (self.home / ".config/apxm/config.toml").write_text(FAST)

    def write(self, name: str, content: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(self.hurried(content), encoding="utf-8")

    def hurried(self, code: str) -> str:
        return code.replace(ENDPOINT, self.endpoint).replace("lognormal:800", "lognormal:20")

    def run(self, code: str, where: str) -> str:
        """What it prints, data and everything else."""
        told = environment(self.home)
        told["PATH"] = f"{self.bin}:{told['PATH']}"
        script = f". ~/variables\n{self.hurried(code)}\nexport -p > ~/variables\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            cwd=self.folder,
            env=told,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{where}: {done.stdout}"
        return done.stdout
