"""Objects that are written out in the arms of a bound construct. They are the record that its other arms give: that is
known only behind the last arm, when the names of the others are gone, and so from the types that were found."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from apxm.language import syntax
from apxm.language.report import UNKNOWN
from apxm.operations.types import Type, assignable, common_type

Arm = tuple[syntax.Expression, Type]


def writes_object(value: syntax.Expression) -> bool:
    if isinstance(value, syntax.ListDisplay):
        return any(map(writes_object, value.items))
    return isinstance(value, syntax.DictDisplay)


def given_by_others(arms: Sequence[Arm]) -> Type | None:
    """What the arms give that write no object; None where that holds no record."""
    joined = common_type(found for value, found in arms if not writes_object(value))
    return joined if joined is not None and _holds_record(joined) else None


def _holds_record(found: Type) -> bool:
    found = found.present
    return found.fields is not None or (found.element is not None and _holds_record(found.element))


def misfit(value: syntax.Expression, expected: Type, types: Mapping[syntax.Expression, Type]) -> str | None:
    """What keeps a value, whose parts were looked at, from being an `expected`; None where nothing does."""
    fields = {field.name: field for field in expected.present.fields or ()}
    if isinstance(value, syntax.DictDisplay) and expected.present.fields is not None:
        given = {str(key.value): item for key, item in zip(value.keys, value.values, strict=True)}
        if strange := next((name for name in given if name not in fields), None):
            return f"`{expected.present}` has no field `{strange}`"
        if lacking := next((f.name for f in fields.values() if f.default is None and f.name not in given), None):
            return f"it lacks `{lacking}`"
        for name, item in given.items():
            choices = fields[name].choices
            if choices and isinstance(item, syntax.Constant) and item.value not in choices:
                return f"`{name}` is one of " + ", ".join(f'"{choice}"' for choice in choices)
    elif not (isinstance(value, syntax.ListDisplay) and expected.present.is_list):
        fits = UNKNOWN in (types[value], expected) or assignable(types[value], expected)
        return None if fits else f"`{value.span.text}` is `{types[value]}`, expected `{expected}`"
    flaws = (misfit(inner, type_, types) for inner, type_ in _inside(value, expected.present))
    return next((flaw for flaw in flaws if flaw), None)


def take(value: syntax.Expression, expected: Type, types: MutableMapping[syntax.Expression, Type]) -> None:
    """Makes a `value` that fits an `expected`."""
    if inside := _inside(value, expected.present):
        types[value] = expected.present
    for inner, type_ in inside:
        take(inner, type_, types)


def _inside(value: syntax.Expression, expected: Type) -> list[Arm]:
    """What a list or an object holds, and what is expected of each; nothing where anything is."""
    if isinstance(value, syntax.ListDisplay) and expected.element is not None:
        return [(item, expected.element) for item in value.items]
    if isinstance(value, syntax.DictDisplay) and expected.fields is not None:
        types = {field.name: field.type for field in expected.fields}
        return [(item, types[str(key.value)]) for key, item in zip(value.keys, value.values, strict=True)]
    return []
