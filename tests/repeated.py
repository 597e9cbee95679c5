"""An opener that no language has yet: it opens a plan any number of times."""

from __future__ import annotations

from typing import cast

from apxm.program.openers import Opener, Opening
from apxm.program.program import AnyNode


class Repeat(Opener, frozen=True, array_like=True, tag="repeat", kw_only=True):
    """Opens `plans`, one at a time, as often as it may."""

    plans: tuple[int, ...]
    least: int = 0
    most: int | None = None
    priority: int = 0

    @property
    def openings(self) -> tuple[Opening, ...]:
        return (Opening(self.plans, self.least, self.most),)


def repeat(*plans: int, least: int = 0, most: int | None = None) -> AnyNode:
    """As a node of a plan, which no artifact could hold."""
    return cast(AnyNode, Repeat(plans=plans, least=least, most=most))
