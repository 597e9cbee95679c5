"""How many files a process may have open: each connection is one, and the usual 1,024 are fewer than a wide fan-out."""

from __future__ import annotations

import os
from contextlib import suppress

_ENOUGH = 65_536
"""More connections than there are local ports for, by far."""
_PLENTY = 16_384
"""A limit that nobody reaches: to count has its price per call, and no machine does well with that many."""
_SPARE = 32
"""Files that a run opens besides its connections."""


def raise_limit() -> None:
    """Raises the limit as far as this process may, or as anybody needs. Harmless where it cannot be raised."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with suppress(ValueError, OSError):  # a kernel with a limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int | None:
    """How many connections can be opened, the limit raised as far as it goes, at least 1; None where there are many."""
    raise_limit()
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _PLENTY:
        return None
    try:
        open_now = len(os.listdir("/dev/fd"))
    except OSError:
        open_now = _SPARE
    return max(1, soft - open_now - _SPARE)
