"""What is in a page, read as its own code reads it."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from typing import Any

_DATA = re.compile(r'<script type="text/plain" id="([a-z0-9-]+)">([A-Za-z0-9+/=]*)</script>')


def data_of(page: bytes) -> dict[str, Any]:
    """Its model, and the pieces of its texts, by their names."""
    return {name: json.loads(zlib.decompress(b64decode(packed))) for name, packed in _DATA.findall(page.decode())}


def around_data(page: bytes) -> str:
    """All of it but these."""
    return _DATA.sub("", page.decode())


def texts_of(page: bytes, path: str, run: int = 0) -> list[tuple[int, str, str]]:
    """What the attempts of an operation asked and were answered, each behind its number and what it is."""
    found = data_of(page)
    operations = found["model"]["runs"][run]["operations"]
    places = operations["texts"][operations["path"].index(path)]
    return [tuple(part) for place in places for part in found[f"texts-{run}-{place // 4096}"][place % 4096]]
