"""The blocks of code in a page of Markdown, and scripts made of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def name_of(block: str) -> str | None:
    """The file that a block says it is, in a comment in its first line."""
    named = re.match(r"# (\w+\.py)\n", block)
    return named and named[1]


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of a user without a configuration, a key or a proxy, whose home is a folder of the test's; and `more`."""
    ours = ("OPENAI_", "APXM_", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "HOME": str(home), "PYTHONWARNINGS": "error", "PYTHONPATH": "", **(more or {})}


def output_of(script: Path, environment: Mapping[str, str]) -> str:
    """What a script prints that has to end well, run in its folder."""
    done = subprocess.run(
        [sys.executable, script.name], check=False, cwd=script.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{script.read_text()}\n{done.stderr}"
    return done.stdout
