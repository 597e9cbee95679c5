"""Processes that tests watch."""

from __future__ import annotations

import asyncio
import os
import select
from pathlib import Path


def fifo(folder: Path) -> Path:
    """A pipe by a name, which a process writes to when it has got somewhere."""
    path = folder / "mark"
    os.mkfifo(path)
    return path


async def told(path: Path) -> str:
    """Waits until somebody has written into such a pipe, and gives that."""
    return await asyncio.to_thread(path.read_text)


def has_ended(pid: int) -> bool:
    """Whether a process that was ended is over, as soon as it is."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 60)[0])
    finally:
        os.close(process)
