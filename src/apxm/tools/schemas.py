"""Whether a tool, by a JSON schema of what it takes or gives, can be what a program declares.

Only what is certain is a misfit: what a schema says in other words than ``type`` and ``items`` is left to the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from apxm.operations.types import Type, parse_type
from apxm.program.program import Capability

Schema = Mapping[str, Any]

_TAKEN = {
    "str": {"string"},
    "int": {"integer", "number"},
    "float": {"number"},
    "bool": {"boolean"},
    "list": {"array"},
}
"""The types of JSON schema by which a value of a type of AIS is taken."""
_GIVEN = {
    "str": {"string"},
    "int": {"integer"},
    "float": {"integer", "number"},
    "bool": {"boolean"},
    "list": {"array"},
}
"""Those of which every value is one of a type of AIS."""


def misfits(declared: Capability, taken: Schema | None, given: Schema | None) -> list[str]:
    """What is wrong with a tool that takes an object `taken` and gives a `given`; None is one that does not say."""
    found: list[str] = []
    if taken is not None:
        properties = cast(dict[str, Schema], taken.get("properties", {}))
        open_ended = bool(taken.get("additionalProperties", False))
        for parameter in declared.parameters:
            schema = properties.get(parameter.name)
            if schema is None:
                if not open_ended:
                    found.append(f"it has no parameter {parameter.name!r}{_listed(properties)}")
            elif not _takes(schema, parse_type(parameter.type)):
                found.append(f"its {parameter.name!r} is {_said(schema)}, declared as {parameter.type}")
        names = {parameter.name for parameter in declared.parameters}
        missing = [name for name in cast(list[str], taken.get("required", [])) if name not in names]
        found += [f"it needs {name!r}, which is not declared" for name in missing]
    if given is not None and not _gives(given, parse_type(declared.result)):
        found.append(f"it gives {_said(given)}, declared as {declared.result}")
    return found


def _takes(schema: Schema, given: Type) -> bool:
    types, expected = _types(schema), _TAKEN.get(given.name)
    if types is None or expected is None:
        return True
    items = schema.get("items")
    return bool(types & expected) and (
        given.element is None or not isinstance(items, dict) or _takes(cast(Schema, items), given.element)
    )


def _gives(schema: Schema, expected: Type) -> bool:
    types, fitting = _types(schema), _GIVEN.get(expected.name)
    if types is None or fitting is None:
        return True
    items = schema.get("items")
    return types <= fitting and (
        expected.element is None or not isinstance(items, dict) or _gives(cast(Schema, items), expected.element)
    )


def _types(schema: Schema) -> set[str] | None:
    types = schema.get("type")
    if isinstance(types, str):
        return {types}
    return set(cast(list[str], types)) if isinstance(types, list) else None


def _said(schema: Schema) -> str:
    types = " or ".join(sorted(_types(schema) or ()))
    items = schema.get("items")
    return (
        f"{types} of {_said(cast(Schema, items))}" if isinstance(items, dict) and _types(cast(Schema, items)) else types
    )


def _listed(names: Iterable[str]) -> str:
    listed = ", ".join(map(repr, names))
    return f"; it has {listed}" if listed else ""
