"""Answers as objects of the user's classes: what a model is told of a class, and how its answer becomes one.

`msgspec` knows its Structs, dataclasses, TypedDicts, NamedTuples, enums and the types of Python; classes of pydantic
know themselves. What a strict endpoint refuses of their schemas is left out there, and checked here all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast, get_origin

import msgspec

from apxm.errors import OperationError, UsageError
from apxm.kept import cached_weakly
from apxm.operations.answers import UNFIT, AnswerReader
from apxm.operations.schemas import ANSWER, AnswerFormat, plain_name
from apxm.operations.types import JSON, Value
from apxm.source import shortened
from apxm.tools.models import Models, ModelSchemas, is_model, written

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

_SAYS_NOTHING = frozenset({"default", "discriminator", "examples", "oneOf", "title"})
"""Others that leave each value as good as it was, or are told in another way."""


class Structure(NamedTuple):
    """A class, as answers are asked for and read."""

    format: AnswerFormat
    read: Callable[[str], Value]
    """Makes of an answer's text a value that fits; raises `OperationError`."""
    made: Callable[[Value], Any]
    """Makes an object of such a value."""


def refuse_no_class(wanted: Any) -> None:
    """Raises `UsageError` for a schema that is seen to be no class, or one that says nothing of what is in it."""
    for kind, hint in _SAY_NOTHING.items():
        if wanted is kind or (kind is object and _is_base_model(wanted)):
            raise UsageError(f"`schema={_name(wanted)}` says nothing of what an answer holds", hint=hint)
    if isinstance(wanted, type) or get_origin(wanted) is not None or type(wanted).__module__ in _OF_TYPES:
        return
    found = shortened(repr(wanted), 60)
    hint = "give a dataclass, a TypedDict, a msgspec.Struct or a pydantic model"
    match wanted:
        case [part] if isinstance(part, type):
            hint = f"for a list of them it is schema=list[{part.__name__}]"
        case dict():
            hint = f"a schema of JSON is none here: {hint}"
        case _ if not callable(wanted) and hasattr(wanted, "__dict__"):
            hint = f"give its class: schema={type(wanted).__name__}"
        case _:
            pass
    raise UsageError(f"`schema=` is a class, not {found}", hint=hint)


_SAY_NOTHING: dict[Any, str] = {
    dict: "for example schema=dict[str, int], or a class with fields",
    list: "for example schema=list[str]",
    set: "for example schema=set[str]",
    tuple: "for example schema=tuple[str, int]",
    object: "give a class with fields, derived from it",
    Any: "give a class with fields",
    msgspec.Struct: "give a class with fields, derived from it",
}
_OF_TYPES = ("types", "typing", "typing_extensions")
"""The modules of what types are made of: unions, `Literal`, `NewType`."""


def _is_base_model(wanted: Any) -> bool:
    """Whether it is what models of pydantic are derived from, which has no fields."""
    return is_model(wanted) and wanted.__module__.startswith("pydantic.") and wanted.__name__ == "BaseModel"


def structure(wanted: Any) -> Structure:
    """The structure of a type. Raises `UsageError` for one that no JSON can be."""
    refuse_no_class(wanted)
    made, plain = _converting(wanted)
    format, wrapped = (_format_of_class if isinstance(wanted, type) else _format)(wanted)
    reader = _ClassReader(_name(wanted), wrapped, lambda value: plain(made(value)))
    return Structure(format, reader.read, made)


def _converting(wanted: Any) -> tuple[Callable[[Value], Any], Callable[[Any], Value]]:
    """What makes an object of a type of a value, and what makes a value of that."""
    if is_model(wanted):
        return wanted.model_validate, lambda made: made.model_dump(mode="json")

    def made(value: Value) -> Any:
        return msgspec.convert(value, wanted, dec_hook=Models().made)

    return made, lambda found: msgspec.to_builtins(found, enc_hook=written)


def _format(wanted: Any) -> tuple[AnswerFormat, bool]:
    """What a model is told of a type, and whether its value is wrapped in an object. Raises `UsageError`."""
    schema, told = _schema(wanted), _Told()
    whole, wrapped = _as_object(told.schema(schema))
    checked, _ = _as_object(schema)
    says_more = _written(checked) if told.left_out else ""
    return AnswerFormat(plain_name(_name(wanted)), _written(whole), told.strict, says_more), wrapped


_format_of_class = cached_weakly(_format)


def _schema(wanted: Any) -> dict[str, Any]:
    """The schema of JSON of a type."""
    if is_model(wanted):
        return cast("dict[str, Any]", wanted.model_json_schema())
    models = ModelSchemas()
    try:
        schema = msgspec.json.schema(wanted, schema_hook=models.schema)
    except (TypeError, RuntimeError) as unfit:
        raise _no_answer(wanted, str(unfit).rpartition("\n")[2]) from None
    if models.definitions:
        schema["$defs"] = schema.get("$defs", {}) | models.definitions
    _look_through(wanted, schema)
    return schema


def _no_answer(wanted: Any, why: str) -> UsageError:
    hint = "give a dataclass, a TypedDict, a msgspec.Struct or a pydantic model"
    return UsageError(f"no answer can be a {_name(wanted)}: {why}", hint=hint)


def _look_through(wanted: Any, schema: dict[str, Any]) -> None:
    """Says of times in a schema of `msgspec` that they are some, where it says that they are text. Raises `UsageError`
    where a type holds one of which JSON has a form, and no value of an answer is read as one."""
    whole = msgspec.inspect.type_info(wanted)
    _say_times(whole, schema)
    types: list[Any] = [whole]
    seen: set[int] = set()
    while types:
        each = types.pop()
        if isinstance(each, msgspec.inspect.RawType):
            raise _no_answer(wanted, "msgspec.Raw is JSON that nobody has read")
        if isinstance(each, msgspec.inspect.DictType) and not isinstance(
            each.key_type, msgspec.inspect.StrType | msgspec.inspect.AnyType | msgspec.inspect.LiteralType
        ):
            raise _no_answer(wanted, "the keys of an object of JSON are text, as in dict[str, int]")
        if isinstance(each, tuple | list):
            types += cast("Sequence[Any]", each)
        elif isinstance(each, msgspec.inspect.Type | msgspec.inspect.Field) and id(each) not in seen:
            seen.add(id(each))
            types += [getattr(each, field) for field in each.__struct_fields__]
            if (made := getattr(each, "cls", None)) is not None:
                parts = schema.get("$defs", {}).get(made.__name__, {})
                of_fields = parts.get("properties", {})
                for field in getattr(each, "fields", ()):
                    _say_times(field.type, of_fields.get(field.encode_name, {}))


_TIMES = {msgspec.inspect.DateTimeType: "date-time", msgspec.inspect.TimeType: "time"}


def _say_times(kind: Any, schema: Any) -> None:
    """Says of a time that is part of a type, but not of a class in that, in which format it is."""
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            _say_times(inner, schema)
        case msgspec.inspect.UnionType(types=types):
            for inner in types:
                for branch in schema.get("anyOf", ()):
                    if type(inner) not in _TIMES or branch == {"type": "string"}:
                        _say_times(inner, branch)
        case msgspec.inspect.DictType(value_type=inner):
            _say_times(inner, schema.get("additionalProperties"))
        case msgspec.inspect.TupleType(item_types=types):
            for inner, part in zip(types, schema.get("prefixItems", ()), strict=False):
                _say_times(inner, part)
        case _ if hasattr(kind, "item_type"):
            _say_times(kind.item_type, schema.get("items"))
        case _ if type(kind) in _TIMES and isinstance(schema, dict):
            cast("dict[str, Any]", schema).setdefault("format", _TIMES[type(kind)])
        case _:
            pass


def _name(wanted: Any) -> str:
    return getattr(wanted, "__name__", None) or str(wanted)


def _as_object(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A schema of an object, and whether that is one around what the schema was of."""
    whole = dict(schema)
    definitions = whole.pop("$defs", None)
    if "$ref" in whole and definitions is not None and len(whole) == 1:
        whole = dict(definitions[whole["$ref"].rpartition("/")[2]])
    wrapped = whole.get("type") != "object" or "properties" not in whole
    if wrapped:
        whole = {"type": "object", "properties": {ANSWER: whole}, "required": [ANSWER], "additionalProperties": False}
    if definitions is not None:
        whole["$defs"] = definitions
    return whole, wrapped


def _written(schema: dict[str, Any]) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


class _Told:
    """Makes of a schema what a strict endpoint takes."""

    def __init__(self) -> None:
        self.strict = True
        """Whether nothing had to be said that such an endpoint refuses."""
        self.left_out = False
        """Whether something is checked that is not said."""

    def schema(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        given = cast(dict[str, Any], schema)
        found = {name: value for name, value in given.items() if name in _TOLD}
        self.left_out |= not given.keys() <= _TOLD | _SAYS_NOTHING
        if (form := given.get("format", given.get("contentEncoding"))) is not None:
            found.setdefault("description", form)
        if "oneOf" in given:
            found["anyOf"] = given["oneOf"]
        if not found.keys() & {"type", "anyOf", "enum", "const", "$ref"} or "prefixItems" in given:
            self.strict = False
        if "prefixItems" in given:
            found |= {name: given[name] for name in ("minItems", "maxItems") if name in given}
            found["prefixItems"] = [self.schema(each) for each in given["prefixItems"]]
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
