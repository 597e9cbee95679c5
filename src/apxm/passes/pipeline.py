"""The optimization levels, as lists of passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from apxm.ir.structure import Module
from apxm.passes.canonicalize import canonicalize
from apxm.passes.cse import cse
from apxm.passes.fuse_asks import fuse_asks
from apxm.passes.inline import inline
from apxm.passes.priorities import priorities
from apxm.passes.remove_unused import remove_unused
from apxm.passes.rewriting import Outcome


@dataclass(frozen=True)
class Pass:
    """Takes a valid module and leaves a valid one."""

    name: str
    """What the command line and diagnostics call it."""
    run: Callable[[Module], Outcome]
    """Changes the module in place."""


INLINE = Pass("inline", inline)
CANONICALIZE = Pass("canonicalize", canonicalize)
CSE = Pass("cse", cse)
REMOVE_UNUSED = Pass("remove-unused", remove_unused)
FUSE_ASKS = Pass("fuse-asks", fuse_asks)
PRIORITIES = Pass("priorities", priorities)

LEVELS: MappingProxyType[int, tuple[Pass, ...]] = MappingProxyType(
    {
        0: (),
        1: (INLINE, CANONICALIZE, CSE, REMOVE_UNUSED, PRIORITIES),
        2: (INLINE, CANONICALIZE, CSE, REMOVE_UNUSED, FUSE_ASKS, PRIORITIES),
    }
)
