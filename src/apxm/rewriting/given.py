"""What is given to something that is done at the turn only: as it is now, whatever is done to it meanwhile."""

from __future__ import annotations

import copy
from collections.abc import Callable, ItemsView, Iterator, KeysView, Sequence, ValuesView
from enum import Enum
from types import FunctionType
from typing import Any, cast

from apxm.effects.libraries import CONTAINERS, is_frozen
from apxm.lanes.lane import Lane

READING = frozenset({"extend", "extendleft", "update", "write", "writelines"})
"""Methods that only add, and read what they are given; others of them keep it as it is, whatever becomes of it."""
_NEVER_CHANGED = (str, bytes, int, float, complex, tuple, frozenset, range, type, Enum, FunctionType, type(None))


def later(lane: Lane, owner: Lane | None, function: Callable[..., object], given: Sequence[Any]) -> None:
    """Calls a function that reads what it is given, at the turn: it gets what that is now. Where nobody knows how to
    keep that, it waits for the turn."""
    if lane.has_turn:
        lane.later(owner, function, *given)
        return
    failures: list[Exception] = []
    kept = [_kept(each, failures) for each in given]
    if any(each is _UNKNOWN for each in kept):
        lane.take_turn(owner)
        function(*given)
        return
    lane.later(owner, function, *kept)
    if failures:
        raise failures[0]


class _Unknown(Enum):
    UNKNOWN = "unknown"


_UNKNOWN = _Unknown.UNKNOWN


def _kept(value: Any, failures: list[Exception]) -> Any:
    kind = cast(type[object], type(value))
    if isinstance(value, _NEVER_CHANGED) or is_frozen(kind):
        return cast(object, value)
    if kind in CONTAINERS:
        return copy.copy(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(cast(Any, value))
    if isinstance(value, KeysView):
        return dict.fromkeys(cast(KeysView[Any], value)).keys()
    if isinstance(value, ItemsView):
        return dict(cast(ItemsView[Any, Any], value)).items()
    if isinstance(value, ValuesView):
        return list(cast(ValuesView[Any], value))
    if isinstance(value, Iterator):
        return list(_drawn(cast(Iterator[Any], value), failures))
    return _UNKNOWN


def _drawn(items: Iterator[Any], failures: list[Exception]) -> Iterator[Any]:
    """What an iterator gives. What it gave before it failed is added all the same, as line by line."""
    try:
        yield from items
    except Exception as failure:
        failures.append(failure)
