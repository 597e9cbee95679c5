"""Values of AIS as docs/language.md has them: text forms, what `as` makes of them, and those that there are not."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

Value = Any


@dataclass(frozen=True)
class Failed:
    """In place of a value that there is not."""

    kind: str
    told: bool = False
    """Whether an operation has failed with it already: then what needs it does not start, and nobody hears of it
    again."""

    @property
    def again(self) -> Failed:
        return replace(self, told=True)


def first_failure(values: Iterable[Value]) -> Failed | None:
    """Of several, one that was told goes first."""
    return min((value for value in values if isinstance(value, Failed)), key=lambda f: not f.told, default=None)


def whole(parts: list[Value], make: Callable[[list[Value]], Value]) -> Value:
    """What is made of all parts; a failure where one of them is."""
    return first_failure(parts) or make(parts)


class Verdict(dict[str, Value]):
    """A value of the type `verdict`, which has a text form of its own."""


def text_of(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Verdict):
        return f"{value['label']} (confidence {text_of(value['confidence'])}): {value['reason']}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def combined(operator: str, left: Value, right: Value) -> Value:
    """`left operator right`, of arithmetic."""
    match operator:
        case "+" if isinstance(left, str) or isinstance(right, str):
            return text_of(left) + text_of(right)
        case "+":
            return left + right if isinstance(left, list) else number(left + right)
        case "-":
            return number(left - right)
        case "*":
            return number(left * right)
        case _ if right == 0:
            return Failed("division_by_zero")
        case "%":
            return number(left % right)
        case _:
            raise AssertionError(operator)


def compared(operator: str, left: Value, right: Value) -> Value:
    """`left operator right`, of two numbers or two texts where order matters."""
    match operator:
        case "==":
            return same(left, right)
        case "!=":
            return not same(left, right)
        case "<":
            return left < right
        case ">=":
            return left >= right
        case "in":
            return left in right
        case _:
            raise AssertionError(operator)


def same(left: Value, right: Value) -> bool:
    """Whether two values are equal in all that they hold, of the same types; keys may stand in any order."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


FUNCTIONS: dict[str, Callable[..., Value]] = {"len": len, "upper": str.upper, "join": lambda xs, sep: sep.join(xs)}
"""The functions that are used here."""


def number(value: int | float) -> Value:
    fits = -(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)
    return value if fits else Failed("overflow")


def field(value: Value, name: str) -> Value:
    return value[name] if isinstance(value, dict) and name in value else Failed("missing_field")


# --- as --------------------------------------------------------------------------------------------------------------

Records = dict[str, list[tuple[str, str, Value]]]
"""The fields of each record: name, type, and default, or `...`."""
MISFIT = Failed("wrong_type")
_PYTHON: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float,), "bool": (bool,)}


def converted(value: Value, type_: str, records: Records) -> Value:
    """`value as type_`"""
    if type_ == "json" or (value is None and type_.endswith("?")):
        return value
    if type_.endswith("?"):
        return converted(value, type_[:-1], records)
    if inner := re.fullmatch(r"list\[(.*)\]", type_):
        if not isinstance(value, list):
            return MISFIT
        return whole([converted(item, inner[1], records) for item in value], list)
    if type_ == "float" and type(value) is int:
        return float(value)
    if type_ not in records:
        return value if type(value) in _PYTHON[type_] else MISFIT
    if not isinstance(value, dict):
        return MISFIT
    made = {
        name: converted(value[name], inner, records) if name in value else MISFIT if default is ... else default
        for name, inner, default in records[type_]
    }
    return first_failure(made.values()) or made


# --- labels ----------------------------------------------------------------------------------------------------------

_LAYER = re.compile(r"""(?P<end>.*)[.,;:!?]|(["'`*_~])(?P<marked>.*)\2|\((?P<round>.*)\)""", re.DOTALL)


def label_of(text: str, labels: Iterable[str]) -> str | None:
    """The one of `labels` that a text is, as `switch` compares them."""
    found = text.strip().casefold()
    by_folded = {label.strip().casefold(): label for label in labels}
    while found not in by_folded:
        layer = _LAYER.fullmatch(found)
        if layer is None:
            return None
        found = (layer["end"] or layer["marked"] or layer["round"] or "").strip()
    return by_folded[found]
