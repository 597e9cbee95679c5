"""The site is built, and its pages lead only to what is in it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from website.__main__ import build, navigation
from website.built import Page, flaws
from website.links import anchors, read


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("zensical") is None:
        pytest.skip("NOT CHECKED: the site of the documentation; that needs the extra `docs`")
    place = tmp_path_factory.mktemp("docs")
    assert build(place) == 0
    return place / "site"


def built(site: Path, page: Path) -> str:
    folder = page.parent if page.name == "README.md" else page.with_suffix("")
    return (site / folder / "index.html").read_text(encoding="utf-8")


def test_every_page_is_there_with_the_anchors_that_git_hosting_makes(site: Path) -> None:
    for page in navigation():
        assert set(anchors(read(page))) <= Page(built(site, page)).anchors, page


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in navigation():
        assert re.findall(r"<(?:script|link|img)[^>]* (?:src|href)=\"?https?:[^>]*", built(site, page)) == [], page


def test_programs_have_colours(site: Path) -> None:
    assert '<span class="nd">@entry</span> <span class="k">flow</span>' in re.sub(
        r'<span class="w">(.*?)</span>', r"\1", built(site, Path("docs/language.md"))
    )


def test_what_leads_nowhere_in_a_site_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/index.html").write_text('<h1 id="x">A</h1>')
    (tmp_path / "index.html").write_text(
        '<a href="a/">1</a><a href="a/#x">2</a><a href="a/#y">3</a><a href="#z">4</a>'
        '<img src="b.png"><a href="c/">5</a><a href="https://apxm.example/">6</a>'
    )
    assert flaws(tmp_path) == [
        "index.html: a/#y has no such anchor",
        "index.html: #z has no such anchor",
        "index.html: b.png is nowhere",
        "index.html: c/ is nowhere",
    ]
