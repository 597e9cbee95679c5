"""What is read of an input, a row at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Protocol

from msgspec import Struct

from apxm.operations.types import LARGEST_TEXT

LONGEST = LARGEST_TEXT
"""The most bytes of a line, which is the most that a value can be."""
_DIGEST_BYTES = 12


class Row(Struct, frozen=True):
    """One row, or why there is none."""

    line: int
    """Where it begins: the line of the file, of a table the row, both from 1."""
    digest: str
    """Equal for rows with equal content, in hexadecimal; of one that cannot be read, of its bytes."""
    values: Mapping[str, object] = {}
    """What it has, by column."""
    flaw: str | None = None
    """Why it cannot be read."""


class Source(Protocol):
    """The rows of an input, which are read once, from the first to the last."""

    @property
    def name(self) -> str:
        """The input as messages name it."""
        ...

    @property
    def format(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that every row has; None where each row has its own."""
        ...

    @property
    def holds_text(self) -> bool:
        """Whether all values are texts, whatever they stand for."""
        ...

    @property
    def may_block(self) -> bool:
        """Whether reading may take a while, so that a thread does it."""
        ...

    @property
    def size(self) -> int | None:
        """How large it was when it was opened, in the unit of `position`; None where nobody knows."""
        ...

    @property
    def position(self) -> int:
        """How much of it is read."""
        ...

    def chunks(self) -> Iterator[list[Row]]:
        """Its rows, as they come: what is there is not held back for what is not. May be gone through in any thread.
        Raises `UsageError` for what is no input of its format at all."""
        ...

    def close(self) -> None: ...


def row_of(line: int, values: Mapping[str, object]) -> Row:
    # Keys in order, and everything beyond ASCII escaped: halves of surrogate pairs have no other form.
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=repr)
    return Row(line, digest_of(text.encode()), values)


def flawed(line: int, content: bytes | str, flaw: str) -> Row:
    """A row that cannot be read; `content` is what is there, or its digest."""
    return Row(line, content if isinstance(content, str) else digest_of(b"\0", content), flaw=flaw)


def digest_of(*parts: bytes) -> str:
    found = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        found.update(part)
    return found.hexdigest()
