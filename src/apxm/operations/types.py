"""The types of AIS values, and the text form of a value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from apxm.errors import OperationError
from apxm.source import shortened

Value = Any
"""What flows along an edge at run time: str, int, float, bool, None, list or dict with str keys, nested."""


class Type(NamedTuple):
    """A type of AIS. Use the constants below and `list_of`; `parse_type` reads back what `str` writes."""

    name: str
    element: Type | None = None

    def __str__(self) -> str:
        return f"{self.name}[{self.element}]" if self.element else self.name

    @property
    def is_number(self) -> bool:
        return self.name in ("int", "float")

    @property
    def depth(self) -> int:
        """Lists within each other."""
        levels, inner = 0, self.element
        while inner is not None:
            levels, inner = levels + 1, inner.element
        return levels


STR = Type("str")
INT = Type("int")
FLOAT = Type("float")
BOOL = Type("bool")
JSON = Type("json")
NONE = Type("none")
"""The result of an operation that gives nothing; no value has it."""

SCALARS = {t.name: t for t in (STR, INT, FLOAT, BOOL, JSON)}
LITERAL_TYPES = {str: STR, bool: BOOL, int: INT, float: FLOAT, type(None): JSON}
"""The types of literals that are no lists or objects, by their types in Python."""
VERDICT = Type("verdict")
LATER_TYPES = ("plan", VERDICT.name)
"""Type names that the language reserves for operations that are not built yet."""


DEEPEST_VALUE = 200
"""Levels of lists and objects within each other in a value that has a text form."""
DEEPEST_TYPE = 64
"""The most lists within each other in a type, as brackets in a source: types are compared and printed by recursion."""


LARGEST_INT = 2**63 - 1


def fits_int(number: int) -> bool:
    """Whether an int of AIS can be that large: it has 64 bits, as an artifact stores it.

    By its bounds: to look for a number of a subclass in a `range`, Python goes through all of it.
    """
    return -(2**63) <= number <= LARGEST_INT


def list_of(element: Type) -> Type:
    return Type("list", element)


def parse_type(text: str) -> Type:
    """The type that `str(type)` wrote. Raises `ValueError` on anything else."""
    inner, depth = text, 0
    while inner.startswith("list[") and inner.endswith("]") and depth < DEEPEST_TYPE:
        inner, depth = inner[5:-1], depth + 1
    result = NONE if inner == "none" and depth == 0 else SCALARS.get(inner)
    if result is None:
        raise ValueError(f"unknown type {shortened(text, 60)!r}")
    for _ in range(depth):
        result = list_of(result)
    return result


def assignable(source: Type, target: Type) -> bool:
    """Whether a value of `source` may stand where `target` is expected: equal, int → float, anything → json.

    A list converts when its elements do; nothing converts to or from `none`.
    """
    if source is target:  # most often: there is one of each scalar type
        return source is not NONE
    if source == NONE or target == NONE:
        return False
    if source == target or target == JSON or (source, target) == (INT, FLOAT):
        return True
    if source.element is not None and target.element is not None:
        return assignable(source.element, target.element)
    return False


def common_type(types: Iterable[Type]) -> Type | None:
    """The one of `types` that all others convert to; None where there is none. Their order does not matter."""
    different = dict.fromkeys(types)
    return next((target for target in different if all(assignable(found, target) for found in different)), None)


def conforms(value: Value, expected: Type) -> bool:
    """Whether a Python value is one of type `expected`; an int is a float, a bool is neither.

    Floats are finite everywhere, and json nests at most 200 levels: else it would have no text form.
    """
    match expected.name:
        case "str":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool) and fits_int(value)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
        case "list":
            element = expected.element or JSON
            return isinstance(value, list) and all(conforms(item, element) for item in cast(list[Value], value))
        case "json":
            return _is_json(value)
        case _:
            return value is None


def _is_json(value: Value, levels: int = DEEPEST_VALUE) -> bool:
    if value is None or isinstance(value, str | bool):
        return True
    if isinstance(value, int):
        return fits_int(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if not levels:
        return False
    if isinstance(value, list):
        return all(_is_json(item, levels - 1) for item in cast(list[Value], value))
    if isinstance(value, dict):
        entries = cast(dict[Value, Value], value)
        return all(isinstance(key, str) and _is_json(item, levels - 1) for key, item in entries.items())
    return False


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an int that no double could hold
        return False


def add_up(numbers: Iterable[Value]) -> Value:
    """What `+` makes of numbers, at least one, from left to right: a float as soon as one of them is.

    Raises `OperationError` (`overflow`) as soon as an int leaves its 64 bits or a float is infinite: what stands
    behind it does not bring it back.
    """
    total, *rest = numbers
    for number in rest:
        total = total + number
        if isinstance(total, float):
            if not math.isfinite(total):
                raise OperationError("overflow", "a sum does not fit a float")
        elif not fits_int(total):
            raise OperationError("overflow", "a sum does not fit an int (64 bits)")
    return total


LARGEST_TEXT = 64 * 1024 * 1024
"""Characters of the longest text a run makes: programs that double a text forty times exist."""


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def text_form(value: Value) -> str:
    """A value as text: a str as it is, anything else as compact JSON (AIS, "Types").

    Raises `OperationError` (`too_large`) where that text would pass `LARGEST_TEXT` or nest deeper than 200: a small
    program can build a value that shares its parts and is exponentially larger when written out.
    """
    if isinstance(value, str):
        return value
    check_size(value)
    return _encode(value)


def check_size(value: Value) -> None:
    """Raises what `text_form` would of the value."""
    if not isinstance(value, list | dict):
        return
    budget = LARGEST_TEXT
    level: list[Value] = [cast(Value, value)]
    for _ in range(DEEPEST_VALUE):
        below: list[Value] = []
        for item in level:
            budget -= 16
            if isinstance(item, str):
                budget -= len(item)
            elif isinstance(item, list):
                below += cast(list[Value], item)
            elif isinstance(item, dict):
                entries = cast(dict[str, Value], item)
                budget -= sum(map(len, entries))
                below += entries.values()
            if budget < 16 * len(below):
                raise OperationError(
                    "too_large", f"a value is longer than {LARGEST_TEXT:,} characters when written out"
                )
        if not below:
            return
        level = below
    raise OperationError("too_large", f"a value nests deeper than {DEEPEST_VALUE} levels")
