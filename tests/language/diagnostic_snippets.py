"""The Markdown files of `diagnostics/`: a heading, a program, and what `apxm check` says about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apxm.compiler.check import check_source
from apxm.errors import SourceError
from apxm.source import Diagnostic, SourceFile

FOLDER = Path(__file__).with_name("diagnostics")
_SNIPPET = re.compile(
    r"^## (?P<title>[^\n]+)\n\n```ais\n(?P<source>.*?)```\n\n```text\n(?P<expected>.*?)```\n", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Snippet:
    file: Path
    title: str
    source: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file.stem}: {self.title}"


def snippets() -> Iterator[Snippet]:
    for file in sorted(FOLDER.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        found = list(_SNIPPET.finditer(text))
        assert len(found) == text.count("\n## "), f"{file.name} holds a snippet that is not one"
        for match in found:
            yield Snippet(file, match["title"], match["source"], match["expected"])


def diagnose(source: str) -> tuple[Diagnostic, ...]:
    """Errors, or else warnings."""
    try:
        return check_source(SourceFile("w.ais", source))
    except SourceError as error:
        return error.diagnostics


def rendered(source: str) -> str:
    return "".join(f"{diagnostic.render()}\n" for diagnostic in diagnose(source)) or "correct\n"


def write_expected() -> None:
    """Writes what is said now into the files. Read the difference before you commit it."""
    for file in sorted(FOLDER.glob("*.md")):
        text = file.read_text(encoding="utf-8")

        def fill(match: re.Match[str]) -> str:
            body = rendered(match["source"])
            return f"## {match['title']}\n\n```ais\n{match['source']}```\n\n```text\n{body}```\n"

        file.write_text(_SNIPPET.sub(fill, text), encoding="utf-8")


if __name__ == "__main__":
    write_expected()
