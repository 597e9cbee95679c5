"""`each`: loops whose iterations are promised to be independent."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_OPTIMIZED
from types import FrameType
from typing import Any, Generic, TypeVar

from apxm.effects.users import is_users
from apxm.lanes.lane import LANE, MOST_OPEN, EachRun, Rules
from apxm.lanes.places import COMPREHENSIONS
from apxm.lanes.run import RUN
from apxm.rewriting.promises import HERE
from apxm.rewriting.sources import is_rewritten, source_of_code

T = TypeVar("T")


class each(Generic[T]):  # noqa: N801  # it reads like a function, as `range` does
    """The items of a loop whose iterations are promised to be independent, but for what they commit in order.

    In a flow an iteration that waits for a model lets the next ones begin; anywhere else it is plain iteration.
    `lookahead` says how many iterations may run ahead of one that may leave the loop; their work is thrown away where
    it does.
    """

    __slots__ = ("items", "lookahead")

    def __init__(self, items: Iterable[T], lookahead: int | None = None) -> None:
        self.items = items
        self.lookahead = lookahead

    def __iter__(self) -> Iterator[T]:
        if LANE.get() is not None and HERE.overlap:
            _tell_of(sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - whoever goes through it
        return HERE.iterate(self.items)


def _tell_of(frame: FrameType) -> None:
    """Says so where a function has no source, and nothing of it overlaps."""
    line = frame.f_lineno
    while frame.f_code.co_name in COMPREHENSIONS and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    is_function = code.co_flags & CO_OPTIMIZED and not code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR)
    if not is_function or is_rewritten(code) or not is_users(code.co_filename):
        return
    if source_of_code(code, frame.f_globals) is None:
        RUN.get().goes_plainly(f"{code.co_qualname}:{line}")


def run_each(items: each[Any], body: types.FunctionType, in_sequence: bool, draws_late: bool, rules: Rules) -> object:
    """The loop over `items` in the function that calls this; `in_sequence` says that an iteration may leave it."""
    lane = LANE.get()
    if lane is None:
        return _plainly(items, body)
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - its code says where the loop stands
    HERE.reached.begins(frame.f_code.co_filename, frame.f_lineno, in_lanes=True)
    place = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
    RUN.get().goes_through(items.items, place)
    most = MOST_OPEN if not in_sequence else 1 + (items.lookahead or 0)
    return EachRun(lane, frame.f_code, place, body, body.__code__, most, draws_late, rules).run(iter(items))


def _plainly(items: each[Any], body: Callable[[Any], object]) -> object:
    for item in items:
        left = body(item)
        if left is not None:
            return left
    return None


def gather(items: each[Any], body: types.FunctionType, draws_late: bool, rules: Rules) -> list[Any]:
    """What `body` gives for all items, each a list, in their order."""
    lane = LANE.get()
    if lane is None:
        return [part for item in items for part in body(item)]
    found: dict[int, list[Any]] = {}

    def kept(item: Any) -> None:
        here = LANE.get()
        assert here is not None
        found[here.index] = body(item)

    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    HERE.reached.begins(frame.f_code.co_filename, frame.f_lineno, in_lanes=True)
    place = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
    RUN.get().goes_through(items.items, place)
    EachRun(lane, frame.f_code, place, kept, body.__code__, MOST_OPEN, draws_late, rules).run(iter(items))
    return [part for index in sorted(found) for part in found[index]]
