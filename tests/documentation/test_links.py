"""Links between the pages, which need no site: each leads to a file, and to a heading that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from website.__main__ import navigation
from website.links import ROOT, anchor, broken, links, read

ROOMS = ("docs", "examples", "benchmarks", "workloads")
PAGES = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *(page for room in ROOMS for page in (ROOT / room).rglob("*.md"))]
)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_to_its_heading(page: Path) -> None:
    assert broken([page]) == []


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    assert sorted(navigation()) == PAGES


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_holds_two_versions_of_itself(page: Path) -> None:
    """What git leaves where two changes meet, and nobody sees in a merge."""
    assert re.findall(r"^(?:<{7}|>{7}) .*$", read(page), re.MULTILINE) == []


def test_a_link_to_what_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[a](metrics.md) [b](nope.md) ![c](images/nope.png) [d](cli.md#nope) [e](#nope) [f](design) [g](cli.md#runs)"
    page = Path("docs/traces.md")
    monkeypatch.setattr("website.links.read", lambda path: text if path == page else read(path))
    assert [flaw.split(": ")[1] for flaw in broken([page])] == [
        "docs/nope.md is no file",
        "docs/images/nope.png is no file",
        "docs/cli.md has no heading that alone is #nope",
        "docs/traces.md has no heading that alone is #nope",
        "docs/design is no file",
    ]


def test_links_are_those_of_all_forms_and_none_of_code() -> None:
    text = '[a](b.md "c") [d]: <e.md>\n<img alt="" src="f.png"/> `x[0](y)`\n\n```python\n[g](h)\n```\n[i]: j.md\n'
    assert links(text) == ["b.md", "f.png", "j.md"]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ('`kind = "openai"`: any endpoint', "kind--openai-any-endpoint"),
        ("Trying again, and not too much", "trying-again-and-not-too-much"),
        ("[Über](x.md) – uns", "über--uns"),
        ("4: scalability", "4-scalability"),
    ],
)
def test_an_anchor_is_what_git_hosting_makes_of_a_heading(title: str, expected: str) -> None:
    assert anchor(title) == expected
