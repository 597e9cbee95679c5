"""What a page of Markdown links to, and what can be linked to in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from os.path import normpath
from pathlib import Path

ROOT = Path(__file__).parents[1]

FENCED = re.compile(r"^(```+)[^\n]*\n.*?^\1 *$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
LINK = re.compile(
    r"""\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)|^\[[^\]]+\]:\s+(\S+)|<(?:a|img)\b[^>]*?\b(?:href|src)="([^"]+)\"""",
    re.M,
)
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures, in their order; those in code are none."""
    prose = CODE.sub("", FENCED.sub("", text))
    return [next(filter(None, found)) for found in LINK.findall(prose)]


def anchors(text: str) -> list[str]:
    """Of each heading what a link to it has behind the `#`, as Git hosting and the site make it."""
    return [anchor(title) for title in HEADING.findall(FENCED.sub("", text))]


def anchor(title: str) -> str:
    words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def local(page: Path, link: str) -> tuple[Path, str] | None:
    """The file, from the root of the repository, and the anchor that a link of a page means; None outside of it."""
    if re.match(r"[a-z][a-z+.-]*:|//", link):
        return None
    path, _, fragment = link.partition("#")
    return Path(normpath(page.parent / path)) if path else page, fragment


def reached(pages: Iterable[Path]) -> list[Path]:
    """These pages, and the files that can be reached from them by links, in the order of their paths."""
    waiting = list(pages)
    seen = set(waiting)
    while waiting:
        page = waiting.pop()
        targets = {path for path, _ in targets_of(page) if (ROOT / path).is_file()}
        waiting += [path for path in targets - seen if path.suffix == ".md"]
        seen |= targets
    return sorted(seen)


def targets_of(page: Path) -> list[tuple[Path, str]]:
    return [found for link in links(read(page)) if (found := local(page, link))]


def read(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def broken(pages: Iterable[Path]) -> list[str]:
    """One line for each link of these pages that leads nowhere, or not to the same place on the site as where the
    repository is hosted: a folder has no page there, and of two equal headings each names the second in its own way."""
    found: list[str] = []
    for page in pages:
        for path, fragment in targets_of(page):
            if not (ROOT / path).is_file():
                found.append(f"{page}: {path} is no file")
            elif fragment and (path.suffix != ".md" or anchors(read(path)).count(fragment) != 1):
                found.append(f"{page}: {path} has no heading that alone is #{fragment}")
    return found
