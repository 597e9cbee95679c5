"""Circles in what leads to what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar, cast

T = TypeVar("T")

_MOST_SHOWN = 8


def cycles(leads_to: dict[T, list[T]], place: Callable[[T], int]) -> Iterator[list[T]]:
    """Each circle once, from what comes first by its `place`. What is in one leads nowhere from then on, so that what
    leads to it is looked at on its own."""
    while True:
        try:
            TopologicalSorter(leads_to).prepare()
        except CycleError as error:
            cycle = cast(list[T], error.args[1])[:0:-1]  # without its first, which is its last too
            first = min(range(len(cycle)), key=lambda i: place(cycle[i]))
            yield cycle[first:] + cycle[:first]
            for vertex in cycle:
                leads_to[vertex] = []
        else:
            return


def around(names: list[str]) -> str:
    """A circle as messages show it."""
    shown = [*names, names[0]]
    if len(shown) > _MOST_SHOWN:
        shown[_MOST_SHOWN - 1 : -1] = ["…"]
    return " → ".join(shown)
