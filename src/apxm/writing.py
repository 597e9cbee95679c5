"""Writing to a descriptor: all of it, or an error. Loaded by every command, so it loads nothing itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def write_all(descriptor: int, data: ReadableBuffer) -> int:
    """Writes every byte of `data` and returns how many; waits where the descriptor does not block. Raises `OSError`."""
    rest = memoryview(data).cast("B")
    size = len(rest)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            from select import select

            select([], [descriptor], [])
    return size
