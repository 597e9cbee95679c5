"""What an iterator does to the items that it gave before, when the next one is drawn.

Line by line an iteration is over then. In lanes it may still have its item: what the iterator changes of that waits
until it is over.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_
from typing import Any, cast

from apxm.effects.users import is_users_class
from apxm.lanes.items import held_by, is_restorable

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


class Before:
    """What items hold before the next one is drawn."""

    def __init__(self, items: Iterable[object]) -> None:
        self._kept = [(part, held) for item in items for part in _parts(item) if (held := _held(part)) is not None]

    def undone(self) -> Callable[[], None] | None:
        """Makes the items what they were, and gives what makes them again what the iterator made of them since; None
        where nothing has changed."""
        changed = [(part, held) for part, held in self._kept if not _is_same(held, _held(part))]
        after = [(part, held) for part, _ in changed if (held := _held(part)) is not None]

        def again() -> None:
            for part, held in after:
                _put_back(part, held)

        for part, held in changed:
            _put_back(part, held)
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


Held = dict[Any, Any] | list[Any] | bytes


def _held(part: Any) -> Held | None:
    """A copy of what there is in a part; None where that cannot be told, or nobody can change it."""
    if is_restorable(part):
        holding = _holding(part)
        return dict(cast("dict[Any, Any]", holding)) if isinstance(holding, dict) else list(holding)
    try:
        view = memoryview(part)
        return view.tobytes() if view.c_contiguous and not view.readonly else None
    except (TypeError, ValueError, NotImplementedError):  # it is no buffer, or one of objects
        return None


def _holding(part: Any) -> Any:
    """What holds the parts of a part: a container itself."""
    return getattr(part, "__dict__", part) if is_users_class(cast("type[object]", type(part))) else part


def _is_same(one: Held, other: Held | None) -> bool:
    if isinstance(one, bytes) or other is None or isinstance(other, bytes) or len(one) != len(other):
        return isinstance(one, bytes) and one == other
    if isinstance(one, dict) and isinstance(other, dict):
        return all(map(is_, one, other)) and all(map(is_, one.values(), other.values()))
    return all(map(is_, one, other))


def _put_back(part: Any, held: Held) -> None:
    if isinstance(held, bytes):
        memoryview(part).cast("B")[:] = held
        return
    holding = _holding(part)
    holding.clear()
    (holding.extend if hasattr(holding, "extend") else holding.update)(held)
