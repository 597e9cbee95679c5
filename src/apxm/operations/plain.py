"""Values that Python code hands over, made values of AIS."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from apxm.errors import OperationError
from apxm.operations.types import DEEPEST_VALUE, JSON, RecordField, Type, Value, fits_int
from apxm.source import is_utf8, shortened

_LONGEST_PLACE = 80

_items: Callable[[object], Iterator[object]] = cast(Any, list).__iter__
_entries: Callable[[object], Iterable[tuple[object, object]]] = cast(Any, dict).items
"""The iterators of `list` and `dict` themselves: a subclass may have others."""


def plain(value: object, expected: Type, name: str, *, leaves_out: bool = False, tuples: bool = False) -> Value:
    """`value` as one of type `expected`, for what `name` names.

    Whatever is of a subclass, such as an `IntEnum`, numpy.float64 or an `OrderedDict`, becomes what it is a subclass
    of, an int becomes a float where one is expected, and lists and objects are copied; parts that several of them
    share are so once, and are shared still.

    A record gets its fields in their order, those that are missing with their defaults. What it has no field for is
    refused, unless `leaves_out` says to leave it out. A tuple is refused, as it would come back as a list, unless
    `tuples` says that it is one.

    Raises `ValueError`, saying where, for anything else: also for floats that are not finite, text that UTF-8 cannot
    hold, json that nests too deeply, and what contains itself. Else it would have no text form.
    """
    try:
        return _Copy(leaves_out=leaves_out, tuples=tuples).copy(value, expected, DEEPEST_VALUE)[0]
    except _Misfit as unfit:
        found = (
            f", and {unfit.place(name if name.isidentifier() else 'in it ')} is {unfit.found}"
            if unfit.steps
            else f", not {unfit.found}"
        )
        raise ValueError(f"{name} must be {_wanted(expected)}{found}") from None


def converted(value: Value, expected: Type) -> Value:
    """What ``value as T`` gives: `value` as one of type `expected`, as `plain` makes it, but without the fields that a
    record does not have. Raises `OperationError` (`wrong_type`), saying what was found, and where in the value."""
    try:
        return _Copy(leaves_out=True).copy(value, expected, DEEPEST_VALUE)[0]
    except _Misfit as unfit:
        found = _IN_AIS.get(unfit.found, unfit.found)
        found = f"and {unfit.place('the value')} is {found}" if unfit.steps else f"found {found}"
        raise OperationError("wrong_type", f"expected {_wanted(expected)}, {found}") from None


_IN_AIS = {"None": "null", "True": "true", "False": "false", "a dict": "an object"}
"""What a run calls a value of which Python has another name."""


def _wanted(expected: Type) -> str:
    text = str(expected)
    if text == "json":
        return f"a JSON value of at most {DEEPEST_VALUE} levels"
    return f"an {text}" if text[0] in "aeioAEIO" else f"a {text}"


class _Misfit(Exception):  # noqa: N818  # it never leaves this file
    def __init__(self, found: str) -> None:
        self.found = found
        self.steps: list[str] = []
        """How the part that does not fit is reached, from the inside."""

    def place(self, name: str) -> str:
        """The part that does not fit, in what is called `name`."""
        return shortened(name + "".join(reversed(self.steps)), _LONGEST_PLACE)


class _Copy:
    """One value's."""

    def __init__(self, *, leaves_out: bool = False, tuples: bool = False) -> None:
        self._leaves_out = leaves_out
        """Whether what a record has no field for is left out, and not refused."""
        self._tuples = tuples
        """Whether a tuple is a list."""
        self._made: dict[tuple[int, int], tuple[Value, int]] = {}
        """Lists and objects that are done, with the levels of json that they nest; by their own identities and those of
        their types, which are long to compare."""
        self._around: set[int] = set()
        """The lists and objects around the current place."""

    def copy(self, value: object, expected: Type, levels: int) -> tuple[Value, int]:
        """The copy, and how many levels of json it nests, of at most `levels`."""
        if self._tuples and isinstance(value, tuple):
            value = list(cast("tuple[object, ...]", value))
        if expected.is_optional:
            return (None, 0) if value is None else self.copy(value, expected.present, levels)
        if (isinstance(value, list) and expected.is_list) or (isinstance(value, dict) and expected.fields is not None):
            return self._once(cast(object, value), expected, levels)
        if expected == JSON and isinstance(value, list | dict):
            return self._once(cast(object, value), expected, levels)
        return _scalar(cast(object, value), expected), 0

    def _once(self, value: object, expected: Type, levels: int) -> tuple[Value, int]:
        key = id(value), id(expected)
        if id(value) in self._around:
            raise _Misfit("a value that contains itself")
        if key not in self._made:
            if not levels:
                raise _Misfit("a value that nests deeper")
            self._around.add(id(value))
            self._made[key] = self._parts(value, expected, levels - (expected == JSON))
            self._around.discard(id(value))
        made, height = self._made[key]
        if height > levels:
            raise _Misfit("a value that nests deeper")
        return made, height

    def _parts(self, value: object, expected: Type, levels: int) -> tuple[Value, int]:
        height = 0
        at: int | str | None = None
        try:
            if isinstance(value, list):
                items: list[Value] = []
                for at, item in enumerate(_items(cast(object, value))):  # noqa: B007  # it is, below
                    made, inner = self.copy(item, expected.element or JSON, levels)
                    items.append(made)
                    height = max(height, inner)
                return items, height + (expected == JSON)
            entries: dict[str, Value] = {}
            if expected.fields is not None:
                given = dict(_entries(value))
                for field in expected.fields:
                    at = field.name
                    entries[at], inner = self._field(given, field, levels)
                    height = max(height, inner)
                if given and not self._leaves_out:
                    at = str(next(iter(given)))
                    raise _Misfit(f"no field of it; there are: {', '.join(entries) or 'none'}")
                return entries, height
            for key, item in _entries(value):
                if not isinstance(key, str):
                    at = None
                    raise _Misfit(f"an object with a key that is {kind_of(key)}")
                at = key
                entries[_text(key)], inner = self.copy(item, JSON, levels)
                height = max(height, inner)
            return entries, height + 1
        except _Misfit as unfit:
            if at is not None:
                unfit.steps.append(f".{at}" if isinstance(at, str) and at.isidentifier() else f"[{at!r:.40}]")
            raise

    def _field(self, given: dict[object, object], field: RecordField, levels: int) -> tuple[Value, int]:
        """Takes what is given for a field, or its default."""
        if field.name not in given:
            if field.default is None:
                raise _Misfit("missing")
            return json.loads(field.default), 0
        value, height = self.copy(given.pop(field.name), field.type, levels)
        if field.choices and value not in field.choices:
            raise _Misfit(f"{shortened(repr(value), 40)}, not one of {', '.join(field.choices)}")
        return value, height


def _scalar(value: object, expected: Type) -> Value:
    wanted = expected.name
    match value:
        case None if wanted == "json":
            return None
        case bool():
            if wanted in ("bool", "json"):
                return value
        case str() if wanted in ("str", "json"):
            return _text(value)
        case int() if wanted in ("int", "json") and fits_int(value):
            return int.__int__(value)
        case float() if wanted in ("float", "json") and math.isfinite(value):
            return float.__float__(value)
        case int() if wanted == "float":
            try:
                return float(int.__int__(value))
            except OverflowError:
                pass
        case _:
            pass
    raise _Misfit(kind_of(value))


def _text(value: str) -> str:
    text = str.__str__(value)
    if not is_utf8(text):
        raise _Misfit("text with half of a surrogate pair, which is no character")
    return text


def kind_of(value: object) -> str:
    """The kind of a value as messages call it; a number by itself."""
    if isinstance(value, bool | float | None):
        return repr(value)
    if isinstance(value, int):
        # Python refuses to write out thousands of digits.
        return repr(value) if fits_int(value) else "a number that is too large"
    return f"a {type(value).__name__}" + (f" of {len(cast(list[object], value))}" if isinstance(value, list) else "")
