"""What the functions of AIS compute from texts, lists and objects. All raise `OperationError`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NoReturn, cast

from apxm.errors import OperationError
from apxm.operations.plain import kind_of
from apxm.operations.types import LARGEST_TEXT, Value, check_size, text_form
from apxm.source import shortened

LARGEST_LIST = 4_000_000
"""Items of the longest list that a function makes."""


def joined(separator: str, texts: Sequence[str]) -> str:
    """`separator.join(texts)`, refused where the result would be absurdly long."""
    expect_length(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def expect_length(characters: int) -> None:
    if characters > LARGEST_TEXT:
        raise OperationError("too_large", f"a text would be longer than {LARGEST_TEXT:,} characters")


def expect_items(count: int) -> None:
    if count > LARGEST_LIST:
        raise OperationError("too_large", f"a list would be longer than {LARGEST_LIST:,} items")


def wrong_type(expected: str, found: Value) -> NoReturn:
    raise OperationError("wrong_type", f"expected {expected}, found {kind_of(found)}")


def length(value: Value) -> int:
    if isinstance(value, str | list | dict):
        return len(cast("str | list[Value] | dict[str, Value]", value))
    wrong_type("a text, a list or an object", value)


def entry(value: Value, name: str) -> Value:
    """The entry of an object."""
    if not isinstance(value, dict):
        found = shortened(text_form(value), 40)
        raise OperationError("missing_field", f"expected an object with a field {name!r}, found {found}")
    entries = cast(dict[str, Value], value)
    if name not in entries:
        known = ", ".join(sorted(entries)[:10]) or "none"
        raise OperationError("missing_field", f"the object has no field {name!r}; it has: {known}")
    return entries[name]


def item(value: Value, index: int | str) -> Value:
    if isinstance(index, str):
        return entry(value, index)
    if not isinstance(value, str | list):
        wrong_type("a list or a text to take an item of", value)
    items = cast("str | list[Value]", value)
    try:
        return items[index]
    except IndexError:
        count = f"{len(items)} {'characters' if isinstance(items, str) else 'items'}"
        raise OperationError("out_of_range", f"there is no item {index} among {count}") from None


def part(value: Value, start: int, end: int) -> Value:
    if not isinstance(value, str | list):
        wrong_type("a list or a text to take a part of", value)
    return cast("str | list[Value]", value)[start:end]


def concatenation(*lists: list[Value]) -> list[Value]:
    expect_items(sum(map(len, lists)))
    return [one for items in lists for one in items]


def zipped(*lists: list[Value]) -> list[list[Value]]:
    return [list(row) for row in zip(*lists, strict=False)]


def whole_numbers(first: int, end: int | None = None) -> list[int]:
    start, stop = (0, first) if end is None else (first, end)
    expect_items(stop - start)
    return list(range(start, stop))


def equal(left: Value, right: Value) -> bool:
    """Deep, and by type: ``1 == 1.0`` holds, ``true == 1`` does not."""
    check_size(left)
    check_size(right)
    return _same(left, right)


def different(left: Value, right: Value) -> bool:
    return not equal(left, right)


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        one, other = cast(list[Value], left), cast(list[Value], right)
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(left, dict) and isinstance(right, dict):
        entries, others = cast(dict[str, Value], left), cast(dict[str, Value], right)
        return entries.keys() == others.keys() and all(_same(entries[key], others[key]) for key in entries)
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def holds(value: Value, container: Value) -> bool:
    """Whether `value` is an item of a list, a part of a text or a key of an object."""
    if isinstance(container, list):
        check_size(value)
        if isinstance(value, list | dict):
            check_size(cast(Value, container))
        return any(_same(value, one) for one in cast(list[Value], container))
    if not isinstance(container, str | dict):
        wrong_type("a list, a text or an object that may hold something", container)
    if not isinstance(value, str):
        wrong_type("a text to look for", value)
    return value in cast("str | dict[str, Value]", container)


def _key(value: Value) -> Hashable:
    """Equal for values that are `_same`."""
    if isinstance(value, list):
        return "list", tuple(map(_key, cast(list[Value], value)))
    if isinstance(value, dict):
        return "dict", frozenset((name, _key(one)) for name, one in cast(dict[str, Value], value).items())
    return isinstance(value, bool), value


def distinct(items: list[Value]) -> list[Value]:
    check_size(items)
    found: dict[Hashable, Value] = {}
    for one in items:
        found.setdefault(_key(one), one)
    return list(found.values())


def in_order(items: list[Value]) -> list[Value]:
    expect_ordered(items)
    return sorted(items)


def expect_ordered(values: Sequence[Value]) -> None:
    """Numbers and texts have an order, each among themselves."""
    kinds = set(map(type, values))
    if not (kinds <= {int, float} or kinds == {str}):
        misfit = next((v for v in values if type(v) not in (int, float, str)), values[-1])
        wrong_type("numbers alone or texts alone to put in order", misfit)
