"""Whether a tool, by a JSON schema of what it takes or gives, can be what a program declares.

Only what is certain is a misfit: what a schema says in other words than ``type`` and ``items`` is left to the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

from apxm.operations.types import Type, parse_type
from apxm.program.program import Capability

Schema = Mapping[str, Any]

_TAKEN = {
    "str": {"string"},
    "int": {"integer", "number"},
    "float": {"number"},
    "bool": {"boolean"},
    "list": {"array"},
    "record": {"object"},
}
"""The types of JSON schema by which a value of a type of AIS is taken."""
_GIVEN = {
    "str": {"string"},
    "int": {"integer"},
    "float": {"integer", "number"},
    "bool": {"boolean"},
    "list": {"array"},
    "record": {"object"},
}
"""Those of which every value is one of a type of AIS."""


class Declaration(NamedTuple):
    """A tool as a program declares it, its types read."""

    signature: str
    parameters: Mapping[str, Type]
    result: Type

    @classmethod
    def of(cls, capability: Capability, records: Mapping[str, Type]) -> Declaration:
        parameters = {p.name: parse_type(p.type, records) for p in capability.parameters}
        return cls(capability.signature, parameters, parse_type(capability.result, records))


def misfits(declared: Declaration, taken: Schema | None, given: Schema | None) -> list[str]:
    """What is wrong with a tool that takes an object `taken` and gives a `given`; None is one that does not say."""
    found: list[str] = []
    if taken is not None:
        properties = cast(dict[str, Schema], taken.get("properties", {}))
        open_ended = bool(taken.get("additionalProperties", False))
        for name, given_type in declared.parameters.items():
            schema = properties.get(name)
            if schema is None:
                if not open_ended:
                    found.append(f"it has no parameter {name!r}{_listed(properties)}")
            elif not _takes(schema, given_type):
                found.append(f"its {name!r} is {_said(schema)}, declared as {given_type}")
        missing = [name for name in cast(list[str], taken.get("required", [])) if name not in declared.parameters]
        found += [f"it needs {name!r}, which is not declared" for name in missing]
    if given is not None and not _gives(given, declared.result):
        found.append(f"it gives {_said(given)}, declared as {declared.result}")
    return found


def _takes(schema: Schema, given: Type) -> bool:
    types, fitting = _types(schema), _TAKEN.get(_kind(given))
    if types is None or fitting is None:
        return True
    return bool(types & fitting) and _in_items(_takes, schema, given)


def _gives(schema: Schema, expected: Type) -> bool:
    types, fitting = _types(schema), _GIVEN.get(_kind(expected))
    if types is None or fitting is None:
        return True
    if expected.is_optional:
        types = types - {"null"}
    return types <= fitting and _in_items(_gives, schema, expected)


def _in_items(fits: Callable[[Schema, Type], bool], schema: Schema, type_: Type) -> bool:
    items, element = schema.get("items"), type_.present.element
    return element is None or not isinstance(items, dict) or fits(cast(Schema, items), element)


def _kind(type_: Type) -> str:
    return "record" if type_.present.fields is not None else type_.present.name


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
