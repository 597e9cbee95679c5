"""What is wrong with a site as it was built, whatever built it: links of its pages that lead nowhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

TARGETS = {"a": "href", "img": "src", "script": "src", "link": "href"}


class Page(HTMLParser):
    """A page's links and anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.anchors |= {name for key in ("id", "name") if (name := told.get(key))}
        if (link := told.get(TARGETS.get(tag, ""))) is not None:
            self.links.append(link)


def flaws(site: Path) -> list[str]:
    """One line for each link within the site that leads nowhere; not of `404.html`, which is shown at any address."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    found: list[str] = []
    for path, page in pages.items():
        for link in page.links:
            address, anchor = urldefrag(link)
            if urlsplit(address).scheme or address.startswith("//"):
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                found.append(f"{path.relative_to(site)}: {link} is nowhere")
            elif target in pages and unquote(anchor) not in pages[target].anchors:
                found.append(f"{path.relative_to(site)}: {link} has no such anchor")
    return found
