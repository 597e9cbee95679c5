"""Doing without the garbage collector for a while."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Generator[None]:
    """For work whose every object lives to its end: looking for garbage is a third of the cost of a large parse, half
    of that of a large simulated run, and makes their time grow faster than their size. The setting is the process's;
    threads at most see it restored early."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
