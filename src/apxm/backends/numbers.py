"""What a number that the user sets may be, wherever it is set: in a configuration, on a command line or in Python.

All fit what a journal can hold, and the clock: a run keeps its limits when it goes on.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from apxm.errors import UsageError
from apxm.operations.plain import kind_of, plain
from apxm.operations.types import FLOAT, INT

_LARGEST = 2**63 - 1
_LARGEST_AMOUNT = 1e15

Count = Annotated[int, Meta(ge=1, le=_LARGEST)]
Seed = Annotated[int, Meta(ge=-_LARGEST - 1, le=_LARGEST)]
Retries = Annotated[int, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(gt=0, le=7 * 24 * 3600)]
"""How long one attempt may take."""
Temperature = Annotated[float, Meta(ge=0, le=100)]
Mebibytes = Annotated[float, Meta(gt=0, le=4096)]
DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,2})?|\.[0-9]{1,20}([eE][+-]?[0-9]{1,2})?")
"""A number of at least 0 that is kept exactly; longer ones would make fractions that take for ever to reckon with."""


def count(number: int, what: str, unit: str = "") -> int:
    """A `Count` as a caller gives it, plain. Raises `UsageError`, in which `what` names it."""
    found = whole(number, what)
    if found < 1:
        raise UsageError(f"{what} must be at least 1{unit}, not {found}")
    return found


def counts(text: str, option: str, most: int = _LARGEST) -> tuple[int, ...]:
    """`1,2,4,8` as an option has them: in rising order, each once. Raises `UsageError`."""
    bounded = most < _LARGEST
    why = f"expected {'whole numbers' if bounded else 'numbers of at least 1'} with commas, such as 1,2,4,8"
    try:
        found = sorted({int(part) for part in text.split(",")})
        outside = [number for number in found if not 1 <= number <= most]
        if outside and bounded:
            why = f"{outside[0]} is not between 1 and {most:,}"
    except ValueError:
        found = outside = [0]
    if outside:
        raise UsageError(f"{option} {text!r}: {why}")
    return tuple(found)


def whole(number: int, what: str) -> int:
    """A whole number of 64 bits, such as a `Seed`; as `count`."""
    try:
        return plain(number, INT, what)
    except ValueError as unfit:
        raise UsageError(str(unfit), hint=f"whole numbers go up to {_LARGEST:,}") from None


def seconds(number: float, what: str) -> float:
    """How long a run may take, without an end that anybody would see; as `count`."""
    return _above_zero(number, what, " of seconds", float("inf"))


def amount(number: float, what: str) -> float:
    """An amount of money; as `count`."""
    return _above_zero(number, what, "", _LARGEST_AMOUNT)


def _above_zero(number: float, what: str, unit: str, most: float) -> float:
    try:
        found: float = plain(number, FLOAT, what)
    except ValueError:
        found = 0.0
    if not 0 < found <= most:
        bound = "" if found <= most else f" and at most {most:g}"
        raise UsageError(f"{what} must be a number{unit} above 0{bound}, not {kind_of(number)}")
    return found
