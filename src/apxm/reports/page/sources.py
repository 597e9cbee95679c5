"""The texts of the files that a run was written in."""

from __future__ import annotations

import os
from pathlib import Path

from apxm.runtime.trace import Trace
from apxm.source import as_utf8

_LARGEST = 4 * 1024 * 1024


def sources_of(trace: Trace) -> list[tuple[str, str]]:
    """By the names that `Names.file_of` gives them, as they are now; those that cannot be read are left out."""
    origin, names = trace.program.origin, trace.program.names
    found: dict[str, str] = {}
    for plan in dict.fromkeys(frame.plan for frame in trace.frames):
        name = names.file_of(plan)
        path = name
        if origin is not None and origin[1] == "source" and name == os.path.basename(origin[0]):
            path = origin[0]
        if name not in found and os.path.isabs(path) and (text := _text(Path(path))) is not None:
            found[name] = text
    return [(as_utf8(name), text) for name, text in found.items()]


def _text(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # ValueError: a NUL in its name
        return None
