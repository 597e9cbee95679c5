"""The types of AIS values, and the text form of a value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from apxm.errors import OperationError
from apxm.source import shortened

Value = Any
"""What flows along an edge at run time: str, int, float, bool, None, list or dict with str keys, nested. A record is a
dict that has all its fields, in their order."""


class RecordField(NamedTuple):
    """One field of a record."""

    name: str
    type: Type
    description: str = ""
    """What a model is told about it that is to answer with such a record."""
    default: str | None = None
    """What it holds where nothing is given, as JSON text; None for a field that is always given."""
    choices: tuple[str, ...] = ()
    """The texts that it may hold; empty where its type alone decides."""


class Type(NamedTuple):
    """A type of AIS. Use the constants below, `list_of`, `optional` and `record_of`.

    `parse_type` reads back what `str` writes, but for the types of records without a name.
    """

    name: str
    element: Type | None = None
    """What a list holds, and what a value of a type ``T?`` is where it is not null."""
    fields: tuple[RecordField, ...] | None = None
    """The fields of a record. One that no source names has an empty name."""

    def __str__(self) -> str:
        if self.name == "optional":
            return f"{self.element}?"
        if self.element is not None:
            return f"{self.name}[{self.element}]"
        return self.name or f"{{{', '.join(f'{field.name}: {field.type}' for field in self.fields or ())}}}"

    @property
    def is_number(self) -> bool:
        return self.name in ("int", "float")

    @property
    def is_list(self) -> bool:
        return self.name == "list"

    @property
    def is_optional(self) -> bool:
        return self.name == "optional"

    @property
    def present(self) -> Type:
        """The type without null: ``T`` of ``T?``, any other type itself."""
        return self.element if self.element is not None and self.is_optional else self

    @property
    def depth(self) -> int:
        """Lists, records and types ``T?`` within each other."""
        inner = [field.type.depth for field in self.fields or ()]
        if self.element is not None:
            inner.append(self.element.depth)
        return 1 + max(inner, default=0) if inner or self.fields is not None else 0

    def field(self, name: str) -> RecordField | None:
        """The field of a record by its name."""
        return next((field for field in self.fields or () if field.name == name), None)


STR = Type("str")
INT = Type("int")
FLOAT = Type("float")
BOOL = Type("bool")
JSON = Type("json")
NULL = Type("null")
"""The type of the literal `null` alone; it converts to every ``T?``."""
NOTHING = Type("nothing")
"""The type of what is in `[]`: it converts to every type, and no value has it."""
TYPE = Type("type")
"""The type of an argument that is a type itself, written out; no value has it."""
TOOLS = Type("list", Type("capability"))
"""The type of an argument that lists capabilities by their names; no value has it."""
NONE = Type("none")
"""The result of an operation that gives nothing; no value has it."""

SCALARS = {t.name: t for t in (STR, INT, FLOAT, BOOL, JSON)}
LITERAL_TYPES = {str: STR, bool: BOOL, int: INT, float: FLOAT, type(None): NULL}
"""The types of literals that are no lists or objects, by their types in Python."""


DEEPEST_VALUE = 200
"""Levels of lists and objects within each other in a value that has a text form."""
DEEPEST_TYPE = 64
"""The deepest a type may nest: types are compared and printed by recursion."""
MOST_FIELDS = 1_000
"""The most fields of a record, counting those of the records in it, as often as they stand there: types are trees."""


LARGEST_INT = 2**63 - 1


def fits_int(number: int) -> bool:
    """Whether an int of AIS can be that large: it has 64 bits, as an artifact stores it.

    By its bounds: to look for a number of a subclass in a `range`, Python goes through all of it.
    """
    return -(2**63) <= number <= LARGEST_INT


def list_of(element: Type) -> Type:
    return Type("list", element)


def optional(present: Type) -> Type:
    """``T?`` of ``T``, and of ``T?`` itself."""
    return present if present.is_optional else Type("optional", present)


def record_of(name: str, fields: Iterable[RecordField]) -> Type:
    """A record, whose name is empty where no source gives it one. Raises `ValueError` with its `excess`."""
    record = Type(name, fields=tuple(fields))
    if flaw := excess(record):
        raise ValueError(flaw)
    return record


def excess(found: Type) -> str | None:
    """Which limit of types `found` passes, in words; None where it keeps to all."""
    fields, level = 0, [found]
    for _ in range(DEEPEST_TYPE + 1):
        below: list[Type] = []
        for outer in level:
            fields += len(outer.fields or ())
            below += [field.type for field in outer.fields or ()]
            if outer.element is not None:
                below.append(outer.element)
        if fields > MOST_FIELDS:
            return f"has more than {MOST_FIELDS:,} fields, counting those of the records in it"
        if not below:
            return None
        level = below
    return f"nests deeper than {DEEPEST_TYPE} levels"


PLAN = record_of(
    "plan",
    [
        RecordField(
            "steps",
            list_of(
                record_of(
                    "",
                    [
                        RecordField("text", STR, "What is to be done in this step."),
                        RecordField(
                            "after", list_of(INT), "The numbers, from 1, of the steps that must be done before it."
                        ),
                    ],
                )
            ),
            "The steps, in an order in which they can be done.",
        )
    ],
)
VERDICT = record_of(
    "verdict",
    [
        RecordField("reason", STR, "Why, naming the evidence, in a few sentences."),
        RecordField(
            "label",
            STR,
            "Whether the evidence shows that the claim is true, that it is false, or neither.",
            choices=("confirmed", "refuted", "insufficient"),
        ),
        RecordField("confidence", FLOAT, "How sure that is, from 0 to 1."),
    ],
)


ERROR = record_of("", [RecordField(name, STR) for name in ("kind", "message", "operation")])
"""What a handler is told of a failure: its kind, its message, and the path of the operation that failed."""
BUILT_IN = {t.name: t for t in (PLAN, VERDICT)}
"""The records of the language itself. Each has a text form of its own, by which it converts to str."""
TYPE_NAMES = frozenset({*SCALARS, *BUILT_IN, "list", "optional", "null", "nothing", "none", "type"})
"""What can be the name of no record of a source."""


def parse_type(text: str, records: Mapping[str, Type] = MappingProxyType({})) -> Type:
    """The type that `str(type)` wrote; `records` are those of the source. Raises `ValueError` on anything else."""
    inner = text
    around: list[Callable[[Type], Type]] = []
    while len(around) < DEEPEST_TYPE:
        if inner.endswith("?") and around[-1:] != [optional]:
            around.append(optional)
            inner = inner[:-1]
        elif inner.startswith("list[") and inner.endswith("]"):
            around.append(list_of)
            inner = inner[5:-1]
        else:
            break
    result = SCALARS.get(inner) or BUILT_IN.get(inner) or records.get(inner)
    if inner == "none" and not around:
        result = NONE
    if result is None:
        raise ValueError(f"unknown type {shortened(text, 60)!r}")
    for made in reversed(around):
        result = made(result)
    return result


def assignable(source: Type, target: Type) -> bool:
    """Whether a value of `source` may stand where `target` is expected: equal, int → float, T → T?, null → T?, anything
    → json, plan and verdict → str.

    A list converts when its elements do, but not by their text forms, and an empty one to every list; a record converts
    to no other one. Nothing converts to or from `none`.
    """
    if source is target:  # most often: there is one of each scalar type
        return source is not NONE
    if source == NONE or target == NONE:
        return False
    return _widens(source, target) or (target == STR and source.name in BUILT_IN)


def _widens(source: Type, target: Type) -> bool:
    if source in (target, NOTHING) or target == JSON or (source, target) == (INT, FLOAT):
        return True
    if target.is_optional:
        return source == NULL or _widens(source.present, target.present)
    if source.is_list and target.is_list:
        return _widens(source.element or JSON, target.element or JSON)
    return False


def castable(source: Type, target: Type) -> bool:
    """Whether ``x as T`` may make a `target` of a `source`, as far as can be known before the run."""
    return assignable(source, target) or _may_hold(source, target)


def _may_hold(source: Type, target: Type) -> bool:
    if source == JSON or _widens(source, target):
        return True
    if source.is_optional or target.is_optional:
        return _may_hold(source.present, target.present)
    return source.is_list and target.is_list and _may_hold(source.element or JSON, target.element or JSON)


def common_type(types: Iterable[Type]) -> Type | None:
    """The one of `types` that all others convert to, as ``T?`` where some may be null; None where there is none. Their
    order does not matter."""
    different = dict.fromkeys(types)
    if len(different) > 1 and any(found == NULL or found.is_optional for found in different):
        present = common_type(found.present for found in different if found != NULL)
        joined = present if present is None or present == JSON else optional(present)
        # A plan is a str, but no `str?`: what converts by its text form does so alone.
        return joined if joined is None or all(assignable(found, joined) for found in different) else None
    return next((target for target in different if all(assignable(found, target) for found in different)), None)


def opened(start: Type, given: Type) -> Type:
    """The type of a name that has the type `start` first and `given` later, where `start` leaves that open, as an empty
    list does, null, and an int before floats. Else it is `start`."""
    joined = common_type((start, given))
    return joined if joined is not None and _leaves_open(start, joined) else start


def _leaves_open(start: Type, joined: Type) -> bool:
    if start in (joined, NULL, NOTHING) or (start, joined) == (INT, FLOAT):
        return True
    if start.name == joined.name and start.element is not None and joined.element is not None:
        return _leaves_open(start.element, joined.element)
    return False


def item_of(items: Type) -> Type:
    """The type of what a `for` takes from `items`, a list or json."""
    return JSON if items.element is None or items.element == NOTHING else items.element


def conforms(value: Value, expected: Type) -> bool:
    """Whether a Python value is one of type `expected`; an int is a float, a bool is neither.

    Floats are finite everywhere, and json nests at most 200 levels: else it would have no text form.
    """
    match expected.name:
        case "str" | "capability":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool) and fits_int(value)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool) and _is_finite(value)
        case "list":
            element = expected.element or JSON
            return isinstance(value, list) and all(conforms(item, element) for item in cast(list[Value], value))
        case "json":
            return is_json(value)
        case "optional":
            return value is None or conforms(value, expected.present)
        case _ if expected.fields is not None:
            return isinstance(value, dict) and _has_fields(cast(dict[Value, Value], value), expected.fields)
        case "nothing":
            return False
        case _:
            return value is None


def _has_fields(entries: dict[Value, Value], fields: tuple[RecordField, ...]) -> bool:
    return entries.keys() == {field.name for field in fields} and all(
        conforms(entries[field.name], field.type) and (not field.choices or entries[field.name] in field.choices)
        for field in fields
    )


def is_json(value: Value, levels: int = DEEPEST_VALUE) -> bool:
    """As `conforms` to `JSON`, where no more than so many `levels` are left."""
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return fits_int(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if not levels:
        return False
    if isinstance(value, list):
        return all(is_json(item, levels - 1) for item in cast(list[Value], value))
    if isinstance(value, dict):
        entries = cast(dict[Value, Value], value)
        return all(isinstance(key, str) and is_json(item, levels - 1) for key, item in entries.items())
    return False


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an int that no double could hold
        return False


def add_up(numbers: Iterable[Value]) -> Value:
    """What `+` makes of numbers, at least one, from left to right: a float as soon as one of them is.

    Raises `OperationError` (`overflow`) as soon as an int leaves its 64 bits or a float is infinite: what stands
    behind it does not bring it back.
    """
    total, *rest = numbers
    for number in rest:
        total = total + number
        if type(total) is int and -(2**63) <= total <= LARGEST_INT:
            continue
        if isinstance(total, float):
            if not math.isfinite(total):
                raise OperationError("overflow", "a sum does not fit a float")
        elif not fits_int(total):
            raise OperationError("overflow", "a sum does not fit an int (64 bits)")
    return total


LARGEST_TEXT = 64 * 1024 * 1024
"""Characters of the longest text a run makes: programs that double a text forty times exist."""


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def text_form(value: Value) -> str:
    """A value as text: a str as it is, anything else as compact JSON (AIS, "Types").

    Raises `OperationError` (`too_large`) where that text would pass `LARGEST_TEXT` or nest deeper than 200: a small
    program can build a value that shares its parts and is exponentially larger when written out.
    """
    if isinstance(value, str):
        return value
    check_size(value)
    return _encode(value)


def check_size(value: Value) -> None:
    """Raises what `text_form` would of the value."""
    if not isinstance(value, (list, dict)):  # a union would be made anew each time, which takes four times as long
        return
    budget = LARGEST_TEXT
    level: list[Value] = [cast(Value, value)]
    for _ in range(DEEPEST_VALUE):
        below: list[Value] = []
        for item in level:
            budget -= 16
            if isinstance(item, str):
                budget -= len(item)
            elif isinstance(item, list):
                below += cast(list[Value], item)
            elif isinstance(item, dict):
                entries = cast(dict[str, Value], item)
                budget -= sum(map(len, entries))
                below += entries.values()
            if budget < 16 * len(below):
                raise OperationError(
                    "too_large", f"a value is longer than {LARGEST_TEXT:,} characters when written out"
                )
        if not below:
            return
        level = below
    raise OperationError("too_large", f"a value nests deeper than {DEEPEST_VALUE} levels")
