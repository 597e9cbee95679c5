"""The page itself: one file of HTML with its code, its style, what it knows of runs, and their texts in pieces."""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from apxm.garbage import without_collector
from apxm.operations.types import Value
from apxm.reports.page.advised import advised
from apxm.reports.page.compared import changes
from apxm.reports.page.model import Reported, run_model
from apxm.source import printable
from apxm.version import VERSION

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {policy}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="apxm {version}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main id="page"><noscript>This report is drawn by its own code: let the browser run JavaScript.</noscript></main>
"""


def run_page(reported: Reported, sources: Sequence[tuple[str, str]] = ()) -> bytes:
    """The page of one run; `sources` are the texts of its files, by the names that its sites have."""
    with without_collector():
        run = run_model(reported, advised(reported))
    model = {"version": VERSION, "runs": [run], "sources": [] if reported.redacts else sources}
    pieces = [] if reported.texts is None else reported.texts.pieces()
    return page(f"{run['name']} {reported.run_id}", model, [pieces])


def comparison_page(
    reported: tuple[Reported, Reported],
    answers: tuple[Mapping[str, Value], Mapping[str, Value]],
    sources: Sequence[tuple[str, str]] = (),
) -> bytes:
    """The page of two runs beside each other; `answers` are what their operations gave, by path."""
    runs = run_model(reported[0]), run_model(reported[1])
    model = {
        "version": VERSION,
        "runs": runs,
        "changes": changes(runs, answers),
        "sources": [] if reported[0].redacts else sources,
    }
    pieces = [[] if each.texts is None else each.texts.pieces() for each in reported]
    return page(f"{runs[0]['id']} and {runs[1]['id']}", model, pieces)


def page(title: str, model: dict[str, Any], pieces: Iterable[Sequence[bytes]]) -> bytes:
    """A page of a `model`, with the `pieces` of the texts of each of its runs."""
    code, style = _part("report.js"), _part("report.css")
    policy = f"script-src {_source(code)}; style-src {_source(style)}; img-src data:"
    head = _HEAD.format(policy=policy, version=VERSION, title=escape(printable(title)), style=style)
    return "".join([head, *_data(model, pieces), f"<script>{code}</script>\n</body>\n</html>\n"]).encode()


def _data(model: dict[str, Any], pieces: Iterable[Sequence[bytes]]) -> Iterator[str]:
    """What no browser takes for anything but data: base64 alone."""
    packed = zlib.compress(msgspec.json.encode(model), 6)
    yield f'<script type="text/plain" id="model">{b64encode(packed).decode()}</script>\n'
    for run, of_run in enumerate(pieces):
        for number, piece in enumerate(of_run):
            text = b64encode(piece).decode()
            yield f'<script type="text/plain" id="texts-{run}-{number}">{text}</script>\n'


def _part(name: str) -> str:
    return files("apxm.reports.page").joinpath(name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """As a policy names the one piece of code, or style, that may be used."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
