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


REMOVE_UNUSED = Pass("remove-unused", remove_unused)
_FIRST = (Pass("inline", inline), Pass("canonicalize", canonicalize), Pass("cse", cse), REMOVE_UNUSED)
_LAST = Pass("priorities", priorities)

LEVELS: MappingProxyType[int, tuple[Pass, ...]] = MappingProxyType(
    {0: (), 1: (*_FIRST, _LAST), 2: (*_FIRST, Pass("fuse-asks", fuse_asks), _LAST)}
)
