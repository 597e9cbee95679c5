"""How many files a process may have open: each connection is one, and the usual 1,024 are fewer than a wide fan-out."""

from __future__ import annotations

from contextlib import suppress

_ENOUGH = 65_536


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
