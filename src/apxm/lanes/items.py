"""What belongs to an item of a loop, and how a change of it is undone where its iteration turns out not to begin."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Number
from types import MappingProxyType
from typing import Any, cast

from apxm.effects.libraries import CONTAINERS
from apxm.effects.users import is_users_class

Undo = Callable[[], object]


Parts = Mapping[int, object]
"""Objects by `id`: it holds them, so that no other object gets the same."""
NO_PARTS: Parts = MappingProxyType({})


def parts_of(item: object) -> Parts:
    """What can be changed of an item: itself, and the containers that it holds. Other objects in it may be those of
    other items, too."""
    if isinstance(item, str | int | float | None):
        return NO_PARTS
    return {id(part): part for part in _parts(item)} or NO_PARTS


def _parts(item: object) -> Iterator[object]:
    if isinstance(item, tuple):
        for part in cast(tuple[object, ...], item):
            yield from _parts(part)
        return
    if is_restorable(item):
        yield item
        yield from (part for part in held_by(item) if type(part) in CONTAINERS)


def is_restorable(thing: object) -> bool:
    """Whether `keeping` knows how a thing is made what it was."""
    kind = type(thing)
    return kind in CONTAINERS or (hasattr(thing, "__dict__") and not isinstance(thing, type) and is_users_class(kind))


def held_by(thing: object) -> list[object]:
    """What an object holds of which `keeping` knows how it is made what it was."""
    if type(thing) not in CONTAINERS:
        return list(vars(thing).values())
    if issubclass(type(thing), dict):
        return list(cast(dict[object, object], thing).values())
    return list(cast(Iterable[object], thing))


def keeping(thing: object) -> Undo:
    """What makes a thing what it is now."""
    if type(thing) not in CONTAINERS:
        return _restoring(vars(thing))
    return _restoring(cast(dict[Any, Any], thing)) if issubclass(type(thing), dict) else _refilling(thing)


def _refilling(thing: Any) -> Undo:
    held = list(thing)
    add: Callable[[list[object]], None] = getattr(thing, "update" if isinstance(thing, set) else "extend")

    def restore() -> None:
        thing.clear()
        add(held)

    return restore


def _restoring(holding: dict[Any, Any]) -> Undo:
    held = dict(holding)

    def restore() -> None:
        holding.clear()
        holding.update(held)

    return restore


def has_order_of_process(items: object) -> bool:
    """Whether something is a set that another process goes through in another order: numbers have their hash for good,
    and what else there is has it by a seed, or by where it lies in memory."""
    if os.environ.get("PYTHONHASHSEED", "random") != "random" or not isinstance(items, set | frozenset):
        return False
    return any(not isinstance(item, Number) for item in cast("set[object]", items))
