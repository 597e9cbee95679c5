"""docs/config.md and the settings cannot drift apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apxm.backends.registry import KINDS
from apxm.config.document import Document

PAGE = (Path(__file__).parents[2] / "docs/config.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_each_setting_has_its_row(kind: str) -> None:
    section = PAGE.partition(f'### `kind = "{kind}"`')[2].partition("\n##")[0]
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(KINDS[kind].__struct_fields__) <= named


def test_the_example_is_a_configuration() -> None:
    example = PAGE.partition("```toml\n")[2].partition("```")[0]
    assert set(Document("config.md", example.encode()).config.backends) == {"local", "dry"}
