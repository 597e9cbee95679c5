"""Whether code is what it was when a run of it began."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from apxm.operations.types import Value

GOES_ON = "goes on with it as it is now, and keeps every answer to a request that is the same"
"""What the option does that says that an edit is meant."""


class EditedError(Exception):
    """The code means something else than it did."""


def meaning_of(tree: ast.Module) -> str:
    """A digest of what Python reads in a file, in hexadecimal: not of its layout, nor of its comments. Raises
    `RecursionError` where it nests deeper than a tree can be gone through."""
    return sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=1024)
def noted(file: str) -> Mapping[str, Value]:
    """What the journal of a run keeps of the file that its flow is in, as this process has it; nothing where that has
    no source."""
    text = "".join(linecache.getlines(file))
    if not text:
        return {}
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    try:
        return {"digest": digest, "meaning": meaning_of(ast.parse(text))}
    except (RecursionError, SyntaxError, ValueError):  # a cell of a notebook is more than Python
        return {"digest": digest, "meaning": digest}


def has_moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a file is another one than it was, and means the same: lines have moved. Both have its ``digest`` and its
    ``meaning``; where one of them has none, nobody knows. Raises `EditedError` where it means something else."""
    if not before or not now or before["digest"] == now["digest"]:
        return False
    if before.get("meaning") != now["meaning"]:
        raise EditedError
    return True
