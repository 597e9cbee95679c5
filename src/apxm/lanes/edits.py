"""Whether code is what it was when a run of it began."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Mapping
from functools import cache
from hashlib import sha256

import msgspec

from apxm.errors import JournalError
from apxm.operations.types import Value


def meaning_of(tree: ast.Module) -> str:
    """A digest of what Python reads in a file, in hexadecimal: not of its layout, nor of its comments. Raises
    `RecursionError` where it nests deeper than a tree can be gone through."""
    return sha256(ast.dump(tree).encode("utf-8", "surrogatepass")).hexdigest()


@cache
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


def has_moved(before: Value, file: str) -> bool:
    """Whether a file is another one than that of which `before` is noted, and means the same: lines have moved.

    Raises `JournalError` where it means something else.
    """
    now = noted(file)
    known = msgspec.convert(before or {}, dict[str, str])
    if not known or not now or known == now:
        return False
    if known["meaning"] == now["meaning"]:
        return True
    raise JournalError(
        "the file of the flow was edited since its run began",
        where=file,
        hint="as_changed=True goes on with it as it is now, and keeps every answer to a request that is the same",
    )
