"""Stable names of what the source wrote (`program.model.NodeName`)."""

from __future__ import annotations

import json
import re


def arm_path(construct: str, label: str | None) -> str:
    """The path of an arm; no label is the default's.

    A label that is not a plain word, or is the word ``default``, stands in quotes: so no two arms share a path, and a
    slash in a label cannot be taken for a step.
    """
    if label is None:
        return f"{construct}/default"
    plain = _WORD.fullmatch(label) is not None and label != "default"
    return f"{construct}/{label if plain else json.dumps(label, ensure_ascii=False)}"


_WORD = re.compile(r"[\w-]+")
