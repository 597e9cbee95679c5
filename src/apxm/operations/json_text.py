"""JSON texts as values: numbers are finite, and of no length that takes Python a while."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, NoReturn

from apxm.operations.types import Value
from apxm.source import shortened


class TwiceError(ValueError):
    """An object has a key twice, so that one of its values would be lost."""


def parse_json(text: str, *, once: bool = False) -> Value:
    """The value that a JSON text stands for; `once` refuses an object that has a key twice. Raises `ValueError` and
    `RecursionError`."""
    pairs = _once if once else None
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=pairs)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TwiceError(f"an object has the key {shortened(repr(twice), 40)} twice")
    return found


def _whole(text: str) -> int:
    return int(text) if len(text) < 400 else _refuse(text)


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(shortened(text, 20))
