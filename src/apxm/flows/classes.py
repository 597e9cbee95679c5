"""Answers as objects of the user's classes: what a model is told of a class, and how its answer becomes one.

`msgspec` knows its Structs, dataclasses, TypedDicts, NamedTuples, enums and the types of Python; classes of pydantic
know themselves. What a strict endpoint refuses of their schemas is left out there, and checked here all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, cast

import msgspec

from apxm.errors import OperationError, UsageError
from apxm.operations.answers import UNFIT, AnswerReader
from apxm.operations.schemas import ANSWER, AnswerFormat, plain_name
from apxm.operations.types import JSON, Value

_TOLD = frozenset(
    {
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "items",
        "properties",
        "required",
        "type",
    }
)
"""The keywords that strict endpoints take."""


class Structure(NamedTuple):
    """A class, as answers are asked for and read."""

    format: AnswerFormat
    read: Callable[[str], Value]
    """Makes of an answer's text a value that fits; raises `OperationError`."""
    made: Callable[[Value], Any]
    """Makes an object of such a value."""


@lru_cache(maxsize=256)
def structure(wanted: Any) -> Structure:
    """The structure of a type. Raises `UsageError` for one that no JSON can be."""
    if hasattr(wanted, "model_validate") and hasattr(wanted, "model_json_schema"):
        return _structure(
            wanted, wanted.model_json_schema(), wanted.model_validate, lambda made: made.model_dump(mode="json")
        )
    try:
        schema = msgspec.json.schema(wanted)
    except (TypeError, RuntimeError) as unfit:
        raise UsageError(
            f"no answer can be a {_name(wanted)}: {unfit}",
            hint="give a dataclass, a TypedDict, a msgspec.Struct or a pydantic model",
        ) from None

    def made(value: Value) -> Any:
        return msgspec.convert(value, wanted)

    return _structure(wanted, schema, made, msgspec.to_builtins)


def _name(wanted: Any) -> str:
    return getattr(wanted, "__name__", None) or str(wanted)


def _structure(
    wanted: Any, schema: dict[str, Any], made: Callable[[Value], Any], plain: Callable[[Any], Value]
) -> Structure:
    told = _Told()
    whole = cast(dict[str, Any], told.schema(schema))
    definitions = whole.pop("$defs", None)
    if "$ref" in whole and definitions is not None and len(whole) == 1:
        whole = dict(definitions[whole["$ref"].rpartition("/")[2]])
    wrapped = whole.get("type") != "object" or "properties" not in whole
    if wrapped:
        whole = {"type": "object", "properties": {ANSWER: whole}, "required": [ANSWER], "additionalProperties": False}
    if definitions is not None:
        whole["$defs"] = definitions
    written = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    reader = _ClassReader(_name(wanted), wrapped, lambda value: plain(made(value)))
    return Structure(AnswerFormat(plain_name(_name(wanted)), written, strict=told.strict), reader.read, made)


class _Told:
    """Makes of a schema what a strict endpoint takes."""

    def __init__(self) -> None:
        self.strict = True
        """Whether nothing had to be said that such an endpoint refuses."""

    def schema(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        given = cast(dict[str, Any], schema)
        found = {name: value for name, value in given.items() if name in _TOLD}
        if "oneOf" in given:
            found["anyOf"] = given["oneOf"]
        if not found.keys() & {"type", "anyOf", "enum", "const", "$ref"} or "prefixItems" in given:
            self.strict = False
        if isinstance(given.get("additionalProperties"), dict):
            self.strict = False
            found["additionalProperties"] = self.schema(given["additionalProperties"])
        for name in ("items",):
            if name in found:
                found[name] = self.schema(found[name])
        for name in ("anyOf",):
            if name in found:
                found[name] = [self.schema(each) for each in found[name]]
        if "$defs" in found:
            found["$defs"] = {name: self.schema(each) for name, each in found["$defs"].items()}
        if "properties" in found:
            needed = set(found.get("required", ()))
            found["properties"] = {
                name: self._field(each, name in needed) for name, each in found["properties"].items()
            }
            found["required"] = list(found["properties"])
            found["additionalProperties"] = False
        return found

    def _field(self, schema: Any, needed: bool) -> Any:
        told = self.schema(schema)
        if needed or {"type": "null"} in told.get("anyOf", ()):
            return told
        return {"anyOf": [told, {"type": "null"}]}


class _ClassReader(AnswerReader):
    """Reads answers that are to be objects of a class."""

    def __init__(self, name: str, wrapped: bool, fitted: Callable[[Value], Value]) -> None:
        super().__init__(JSON)
        self._name = name
        self._wrapped = wrapped
        self._fitted = fitted

    @property
    def _wanted(self) -> str:
        return f"JSON of the type {self._name}"

    def _value(self, text: str) -> Value:
        value = msgspec.json.decode(text)
        if self._wrapped and isinstance(value, dict) and value.keys() == {ANSWER}:
            value = cast(dict[str, Value], value)[ANSWER]
        try:
            return self._fitted(value)
        except (msgspec.ValidationError, ValueError, TypeError) as unfit:
            without = _without_nulls(value)
            if without != value:
                try:
                    return self._fitted(without)
                except (msgspec.ValidationError, ValueError, TypeError):
                    pass
            raise OperationError(UNFIT, f"the answer does not fit {self._name}: {unfit}") from None


def _without_nulls(value: Any) -> Any:
    """By null a strict answer leaves out what has a default."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in cast(dict[str, Any], value).items() if each is not None}
    return [_without_nulls(each) for each in cast(list[Any], value)] if isinstance(value, list) else value
