"""What a value is as one of a type, as docs/language.md says it; it reads the texts of types, and shares no code."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NAMED: dict[str, list[tuple[str, str, Any]]] = {
    "Inner": [("a", "int", ...), ("b", "str?", None), ("c", "float", 2.0)],
    "Outer": [("a", "Inner", ...), ("b", "list[Inner?]", []), ("d", "json", ...)],
}
"""The fields of records: name, type and default; `...` where there is none."""
DECLARATIONS = """
    type Inner { a: int   b: str?   c: float = 2 }
    type Outer { a: Inner   b: list[Inner?] = []   d: json }
"""
written_types = st.recursive(
    st.sampled_from(["str", "int", "float", "bool", "json", *NAMED]),
    lambda inner: inner.map(lambda t: f"list[{t}]") | inner.map(lambda t: t if t.endswith("?") else f"{t}?"),
    max_leaves=3,
)


class Misfit(Exception):  # noqa: N818  # a verdict
    """The value is none of that type."""


def converted(value: Any, type_: str, *, strict: bool = False) -> Any:
    """`strict` refuses what a record has no field for."""
    if type_ == "json" or (value is None and type_.endswith("?")):
        return value
    if type_.endswith("?"):
        return converted(value, type_[:-1], strict=strict)
    if type_.startswith("list["):
        if not isinstance(value, list):
            raise Misfit
        return [converted(item, type_[5:-1], strict=strict) for item in value]
    if type_ in NAMED:
        return record(value, type_, strict=strict)
    if type_ == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != type_:
        raise Misfit
    return value


def record(value: Any, type_: str, *, strict: bool) -> dict[str, Any]:
    if not isinstance(value, dict) or (strict and value.keys() - {name for name, _, _ in NAMED[type_]}):
        raise Misfit
    made: dict[str, Any] = {}
    for name, inner, default in NAMED[type_]:
        if name in value:
            made[name] = converted(value[name], inner, strict=strict)
        elif default is ...:
            raise Misfit
        else:
            made[name] = default
    return made
