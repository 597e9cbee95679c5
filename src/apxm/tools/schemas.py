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
        properties = properties_of(taken)
        open_ended = bool(taken.get("additionalProperties", False))
        for name, given_type in declared.parameters.items():
            if name not in properties:
                if not open_ended:
                    found.append(f"it has no parameter {name!r}{_listed(properties)}")
            elif not _takes(properties[name], given_type):
                found.append(f"its {name!r} is {_said(properties[name])}, declared as {given_type}")
        missing = [name for name in _texts(taken.get("required")) if name not in declared.parameters]
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


def properties_of(schema: Schema | None) -> Mapping[str, Any]:
    """The schemas of the fields of an object; servers write null for none."""
    found = None if schema is None else schema.get("properties")
    return cast(Schema, found) if isinstance(found, dict) else {}


def _types(schema: Any) -> set[str] | None:
    """The types that it names; a schema may also be ``true`` alone."""
    types = cast(Schema, schema).get("type") if isinstance(schema, dict) else None
    if isinstance(types, str):
        return {types}
    return set(_texts(types)) or None


def _texts(found: object) -> list[str]:
    """The texts in what should be a list of them."""
    items = cast("list[object]", found) if isinstance(found, list) else []
    return [item for item in items if isinstance(item, str)]


def _said(schema: Schema) -> str:
    types = " or ".join(sorted(_types(schema) or ()))
    items = schema.get("items")
    return (
        f"{types} of {_said(cast(Schema, items))}" if isinstance(items, dict) and _types(cast(Schema, items)) else types
    )


def _listed(names: Iterable[str]) -> str:
    listed = ", ".join(map(repr, names))
    return f"; it has {listed}" if listed else ""
