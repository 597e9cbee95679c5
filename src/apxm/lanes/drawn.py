"""What an iterator does to the items that it gave before, when the next one is drawn.

Line by line an iteration is over then. In lanes it may still have its item: what the iterator changes of that waits
until it is over.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_
from typing import Any, NamedTuple, cast

from apxm.lanes.items import held_by, is_restorable, keeping

_EMPTY: dict[int, int] = {}
_CONTAINERS: list[Iterable[object]] = [[], (), _EMPTY, _EMPTY.values(), _EMPTY.items(), set[int](), "", b"", range(1)]
_STILL: tuple[type, ...] = tuple(type(iter(each)) for each in _CONTAINERS)
"""Iterators that change nothing of what they go through."""
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
_GROUP = type(next(itertools.groupby("a"))[1])


def changes_nothing(items: Iterator[object]) -> bool:
    return isinstance(items, _STILL)


def read(item: object) -> tuple[object, list[object]]:
    """An item in which the groups of `itertools.groupby` are read, as they are empty once the next one is drawn; and
    the iterators that stand in their places."""
    if isinstance(item, _GROUP):
        found = iter(list(cast("Iterator[object]", item)))
        return found, [found]
    if type(item) is not tuple:
        return item, []
    parts = [read(part) for part in cast(tuple[object, ...], item)]
    groups = [group for _, found in parts for group in found]
    return tuple(part for part, _ in parts) if groups else cast(object, item), groups


def is_drawn_from(item: object, read: Sequence[object]) -> bool:
    """Whether an item may be empty, or go on elsewhere, once the next one is drawn: it is or holds an iterator,
    and not one of those that were `read`. Files are gone through by nobody else."""
    found = [part for part in _parts(item) if hasattr(type(part), "__next__") and not isinstance(part, io.IOBase)]
    return len(found) > len(read)


class _Kept(NamedTuple):
    """A part of an item, as it was."""

    part: Any
    held: object
    put_back: Callable[[], object]

    @property
    def has_changed(self) -> bool:
        return not _is_same(self.held, _held(self.part))


class Before:
    """What items hold before the next one is drawn."""

    def __init__(self, items: Iterable[object]) -> None:
        self._kept = [kept for item in items for part in _parts(item) if (kept := _kept(part)) is not None]

    def undone(self) -> Callable[[], None] | None:
        """Makes the items what they were, and gives what makes them again what the iterator made of them since; None
        where nothing has changed."""
        changed = [kept for kept in self._kept if kept.has_changed]
        after = [found.put_back for kept in changed if (found := _kept(kept.part)) is not None]
        for kept in changed:
            kept.put_back()

        def again() -> None:
            for put in after:
                put()

        return again if changed else None


def _parts(item: object) -> Iterator[object]:
    """An item, or what a tuple has, and what these hold."""
    if type(item) in _PLAIN:
        return
    if isinstance(item, tuple):
        for part in cast(tuple[object, ...], item):
            yield from _parts(part)
        return
    yield item
    if is_restorable(item):
        yield from (part for part in held_by(item) if type(part) not in _PLAIN)


def _kept(part: object) -> _Kept | None:
    if is_restorable(part):
        return _Kept(part, _held(part), keeping(part))
    if (bytes_of := _held(part)) is None:
        return None

    def put_back() -> None:
        memoryview(cast(Any, part)).cast("B")[:] = cast(bytes, bytes_of)

    return _Kept(part, bytes_of, put_back)


def _held(part: object) -> object:
    """What there is in a part, to be compared; None where that cannot be told, or nobody can change it."""
    if is_restorable(part):
        named = cast("Iterable[object]", part if isinstance(part, dict) else getattr(part, "__dict__", ()))
        return [*named, *held_by(cast(object, part))]
    try:
        view = memoryview(cast(Any, part))
        return view.tobytes() if view.c_contiguous and not view.readonly else None
    except (TypeError, ValueError, NotImplementedError):  # it is no buffer, or one of objects
        return None


def _is_same(one: Any, other: Any) -> bool:
    return one == other if isinstance(one, bytes) else len(one) == len(other) and all(map(is_, one, other))
