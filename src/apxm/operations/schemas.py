"""Types as JSON schemas, in the form that strict endpoints take.

The top is an object, so anything else is wrapped; every field is required, and one that may be left out may be null
instead; there is no default, and no keyword but those that all of them take. Only a free `json` does not fit into it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from apxm.operations.types import JSON, RecordField, Type

ANSWER = "answer"
"""The only field of the object around what is no object itself."""
INSTRUCTION = "Answer with JSON that fits this schema, and with nothing else:"
"""How a model is told of a schema in words; the schema is the line behind it."""
_LONGEST_NAME = 64
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "null": "null"}


class AnswerFormat(Struct, frozen=True):
    """What an answer has to be like."""

    name: str
    """Letters, digits, `_` and `-`, at most 64 of them."""
    schema: str
    """JSON."""
    strict: bool = True
    """Whether the schema is one that strict endpoints take."""
    checked: str = ""
    """As `schema`, with all that answers are checked for, where that is more."""

    @property
    def whole(self) -> str:
        """The schema with all that is known."""
        return self.checked or self.schema

    @property
    def instruction(self) -> str:
        """What a model is told where its endpoint takes no schema."""
        return f"{INSTRUCTION}\n{self.whole}"


def answer_format(expected: Type, choices: Sequence[str] = ()) -> AnswerFormat:
    """The format of an answer of type `expected`, or of one that is exactly one of `choices`."""
    inner = _one_of(choices) if choices else schema_of(expected)
    whole = inner if expected.fields is not None and not choices else _object({ANSWER: inner})
    name = plain_name("choice" if choices else str(expected))
    return AnswerFormat(name, _written(whole), strict=not holds_json(expected))


def arguments_schema(arguments: Type) -> str:
    """The schema of all arguments of a tool, which a model is told: what has a default may be left out, so it is not
    one that strict endpoints take."""
    fields = arguments.fields or ()
    properties = {field.name: _argument(field) for field in fields}
    needed = [field.name for field in fields if field.default is None]
    return _written({**_object(properties), "required": needed})


def _argument(field: RecordField) -> dict[str, Any]:
    schema = schema_of(field.type)
    if field.default is not None:
        schema = {**schema, "default": json.loads(field.default)}
    return {"description": field.description, **schema} if field.description else schema


def plain_name(name: str) -> str:
    """A name as `AnswerFormat` has it."""
    return _NO_NAME.sub("_", name).strip("_")[:_LONGEST_NAME] or ANSWER


def schema_of(expected: Type) -> dict[str, Any]:
    """The schema of a type where it stands inside of another one."""
    match expected.name:
        case "json":
            return {}
        case "list" if expected.element is not None:
            return {"type": "array", "items": schema_of(expected.element)}
        case "optional" if expected.element is not None:
            return {"anyOf": [schema_of(expected.element), {"type": "null"}]}
        case scalar if scalar in _SCALARS:
            return {"type": _SCALARS[scalar]}
        case _:
            return _object({field.name: _field(field) for field in expected.fields or ()})


def holds_json(expected: Type) -> bool:
    """Whether some part of it may be any JSON."""
    inner = (*([expected.element] if expected.element else ()), *(field.type for field in expected.fields or ()))
    return expected.name == "json" or any(map(holds_json, inner))


def stands_for_default(field: RecordField) -> bool:
    """Whether null in a strict answer means that the field is left out."""
    return field.default is not None and not field.type.is_optional and field.type != JSON


def _field(field: RecordField) -> dict[str, Any]:
    schema = _one_of(field.choices) if field.choices else schema_of(field.type)
    if stands_for_default(field):
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {"description": field.description, **schema} if field.description else schema


def _one_of(choices: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": [*choices]}


def _written(schema: dict[str, Any]) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
