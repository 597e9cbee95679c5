"""The fragments of the changelog: each of a type that the release knows, each with something to say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
TYPES = {entry["directory"] for entry in SETTINGS["type"]}


def test_every_fragment_has_a_name_of_its_own_a_known_type_and_a_sentence() -> None:
    paths = [path for path in (ROOT / SETTINGS["directory"]).iterdir() if path.name != "README.md"]
    for path in paths:
        name = re.fullmatch(r"\+[a-z0-9-]+\.([a-z]+)\.md", path.name)
        assert name, f"{path.name} is not called +slug.type.md"
        assert name[1] in TYPES, f"{path.name}: the types are {sorted(TYPES)}"
        assert re.search(r"\S.*[.`)]\s*\Z", path.read_text(encoding="utf-8")), f"{path.name} is not a sentence"
