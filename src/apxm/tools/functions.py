"""What a function of Python takes, as a model is told it and as a model's arguments become its own."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, cast, get_args, get_origin, get_type_hints

import msgspec

from apxm.errors import UsageError
from apxm.kept import cached_by_function
from apxm.operations.types import Value
from apxm.tools.models import Models, ModelSchemas, is_model

_MARK = "__apxm_tool__"
"""The attribute of functions that the user calls tools."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What endpoints take as the name of a tool."""
_GIVEN = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class ToolMark(NamedTuple):
    """What the user says of a function that is a tool."""

    name: str
    readonly: bool
    description: str


def marked(function: Callable[..., Any], mark: ToolMark) -> None:
    """Makes a function one that the user calls a tool. Raises `UsageError` for a name that no endpoint takes."""
    _refuse_name(mark.name)
    setattr(function, _MARK, mark)


def mark_of(function: object) -> ToolMark | None:
    """What the user says of a function; None where that is nothing."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, ToolMark) else None


def name_of(function: Callable[..., Any]) -> str:
    """The name by which a function is a tool."""
    mark = mark_of(function)
    if mark is not None:
        return mark.name
    return getattr(function, "__name__", type(function).__name__)


class Signature(NamedTuple):
    """What a function takes, by name."""

    name: str
    description: str
    schema: str
    """The JSON schema of the object of its arguments."""
    arguments: type[msgspec.Struct]

    def fitting(self, given: Value) -> Value:
        """The arguments that a model gives, as a value with all defaults. Raises `ValueError`."""
        models = Models()
        return msgspec.to_builtins(self._made(given, models), enc_hook=models.given)

    def own(self, fitting: Value) -> dict[str, Any]:
        """Arguments as the function itself gets them."""
        made = self._made(fitting, Models())
        return {name: getattr(made, name) for name in made.__struct_fields__}

    def _made(self, given: Value, models: Models) -> msgspec.Struct:
        try:
            return msgspec.convert(given, self.arguments, strict=False, dec_hook=models.made)
        except msgspec.ValidationError as unfit:
            told = cast("dict[str, Value]", given)
            without = {name: value for name, value in told.items() if value is not None}
            if without != told:  # by null a model leaves out what has a default
                try:
                    return msgspec.convert(without, self.arguments, strict=False, dec_hook=models.made)
                except msgspec.ValidationError:
                    pass
            raise ValueError(f"{unfit}") from None


@cached_by_function
def signature_of(function: Callable[..., Any]) -> Signature:
    """What a function takes. Raises `UsageError` where a model could not call it."""
    mark, name = mark_of(function), name_of(function)
    _refuse_name(name)
    fields = [_field(function, name, parameter) for parameter in _parameters(function, name)]
    models = ModelSchemas()
    try:
        arguments = msgspec.defstruct("Arguments", fields, forbid_unknown_fields=True, kw_only=True)
        schema = msgspec.json.schema(arguments, schema_hook=models.schema)
    except (TypeError, ValueError, RuntimeError) as unfit:
        raise UsageError(
            f"the tool {name!r} takes what no model can give: {unfit}",
            hint="parameters are of types of JSON, dataclasses, TypedDicts, msgspec.Structs or pydantic models",
        ) from None
    description = mark.description if mark is not None and mark.description else inspect.getdoc(function) or ""
    return Signature(name, description, _written(schema, models.definitions), arguments)


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        hint = f"wrap it: def {name}(…): return …"
        raise UsageError(f"the tool {name!r} does not say what it takes", hint=hint) from None
    for parameter in parameters:
        if parameter.kind not in _GIVEN:
            kind = parameter.kind.description
            raise UsageError(
                f"the tool {name!r} has the {kind} parameter {parameter.name!r}: a model gives arguments by name",
                hint="give it parameters with names, and a type for each",
            )
    return parameters


def _field(function: Callable[..., Any], name: str, parameter: inspect.Parameter) -> tuple[str, Any, Any]:
    own = inspect.unwrap(function)
    try:
        hints = get_type_hints(own, include_extras=True)
    except Exception as unknown:  # whatever an annotation may raise
        raise UsageError(f"the types of the tool {name!r} cannot be read: {unknown}") from None
    kind = _described(hints.get(parameter.name, Any))
    default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
    if isinstance(default, list | dict | set) or is_model(type(default)):
        shared = cast("Any", default)
        return parameter.name, kind, msgspec.field(default_factory=lambda: shared)
    return parameter.name, kind, default


def _described(annotation: Any) -> Any:
    """A type of which a model is told what a text beside it says: ``Annotated[str, "what to look for"]``."""
    if get_origin(annotation) is not Annotated:
        return annotation
    inner, *beside = get_args(annotation)
    texts = [text for text in beside if isinstance(text, str)]
    metas = [meta for meta in beside if isinstance(meta, msgspec.Meta)]
    for meta in (*metas, *(msgspec.Meta(description=text) for text in texts[:1])):
        inner = Annotated[inner, meta]
    return inner


def _written(schema: dict[str, Any], more: dict[str, Any]) -> str:
    """The schema of an object, whose fields are at its top; it has `more` definitions."""
    definitions = schema.pop("$defs", {}) | more
    whole = definitions.pop(schema["$ref"].rpartition("/")[2])
    whole.pop("title", None)
    if definitions:
        whole["$defs"] = definitions
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _refuse_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a tool: expected letters of ASCII, digits, _ and -, at most 64 of them",
            hint='give it one: @apxm.tool(name="…")',
        )
