"""Values that fit a JSON schema: what a simulated model says where a shape is asked for.

A value follows from the schema and a seed. All properties are there, the optional ones too; a recursive schema goes on
for a few levels and then takes the shortest way to an end. Keywords that no value is built for (`not`, `if`,
`uniqueItems`, …) hold all the same: values are made until one fits.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from fractions import Fraction
from random import Random
from typing import Any, TypeVar, cast

from apxm.backends.patterns import PatternError, text_matching
from apxm.backends.schemas import Keywords, Schema, SchemaError, merged

T = TypeVar("T")

_WHOLE_ATTEMPTS = 10
_ATTEMPTS = 30
_FAILURES = 100
"""The most that all places of a value may have together: nothing may fit, at several levels."""
_DEEP = 4
"""The level from which on the shortest way to an end is taken; `_MANY` values made do the same."""
_DEEPEST = 40
_MANY = 200
_TOO_MANY = 20_000
"""Values, or characters of a text."""
_SPAN = 100
"""How far from its only bound a number may be."""
_BUILT_FOR = frozenset(
    (
        "type", "enum", "const", "properties", "required", "additionalProperties", "minProperties", "maxProperties",
        "items", "prefixItems", "minItems", "maxItems", "anyOf", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "minLength", "maxLength", "format", "default", "examples", "title", "description", "$defs",
        "definitions", "$schema", "$id", "$comment", "nullable", "deprecated", "readOnly", "writeOnly", "discriminator",
    )
)  # fmt: skip
"""What is made of these fits; of all others it is found out."""
_TYPES = ("string", "integer", "boolean", "object", "array", "number", "null")
_INFERRED = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
"""A schema without a type is about the first of these that it has a keyword of, and about strings else."""
_OF_NUMBERS = frozenset(_INFERRED["number"])


def example(schema: Schema, seed: int) -> Any:
    """A value that fits. Raises `SchemaError`."""
    return _Writer(schema, Random(seed)).whole() if schema.is_plain else _found(schema, seed)


def _found(schema: Schema, seed: int) -> Any:
    """The first of several values that fits."""
    from jsonschema.exceptions import UnknownType
    from referencing.exceptions import Unresolvable

    wrong = ""
    try:
        for attempt in range(_WHOLE_ATTEMPTS):
            value = _Writer(schema, Random(seed + attempt)).whole()
            if schema.fits(value):
                return value
            wrong = wrong or schema.what_is_wrong(value)
    except RecursionError:
        raise SchemaError("it is nested too deeply") from None
    except re.error as unreadable:
        raise SchemaError(f"a pattern could not be read: {unreadable}") from None
    except Unresolvable as unresolvable:
        raise SchemaError(f"a reference leads nowhere: {unresolvable}") from None
    except UnknownType as unknown:
        raise SchemaError(f"there is no type {unknown.type!r}") from None
    raise SchemaError(f"no value was found that fits it; one that was tried: {wrong}")


class _Writer:
    """Makes one value. `name` is what a value is called where it stands, for texts that people read."""

    def __init__(self, schema: Schema, random: Random) -> None:
        self._schema = schema
        self._random = random
        self._made = 0
        self._failures_left = _FAILURES

    def whole(self) -> Any:
        return self.value(self._schema.root, "value", 0)

    def value(self, schema: Any, name: str, depth: int) -> Any:
        self._count(1)
        if depth > _DEEPEST:
            raise SchemaError(f"each value of it is more than {_DEEPEST} levels deep")
        keywords = self._schema.flat(schema)
        if keywords.keys() <= _BUILT_FOR:
            return self._candidate(keywords, name, depth)
        value = self._candidate(keywords, name, depth)
        for _ in range(_ATTEMPTS):
            if not self._failures_left or self._schema.fits(value, keywords):
                break
            self._failures_left -= 1
            value = self._candidate(keywords, name, depth)
        return value

    def _candidate(self, keywords: Keywords, name: str, depth: int) -> Any:
        short = self._short(depth)
        if some := next((some for some in ("anyOf", "oneOf") if some in keywords), None):
            rest = {key: value for key, value in keywords.items() if key != some}
            branches = [branch for branch in keywords[some] if branch is not False]
            chosen = min(branches, key=self._schema.height) if short and branches else self._one_of(branches)
            return self.value(merged(rest, self._schema.flat(chosen)), name, depth)
        if "if" in keywords:
            return self.value(self._decided(keywords), name, depth)
        if "const" in keywords:
            return keywords["const"]
        if "enum" in keywords:
            fitting = [value for value in keywords["enum"] if self._schema.fits(value, keywords)]
            return self._one_of(fitting or keywords["enum"])
        known = [*keywords.get("examples", ())]
        if "default" in keywords and self._random.random() < 0.25:
            known.append(keywords["default"])
        if known and self._schema.fits(value := self._one_of(known), keywords):
            return value
        return self._of_type(self._type(keywords, short=short), keywords, name, depth)

    def _decided(self, keywords: Keywords) -> Keywords:
        rest = {key: value for key, value in keywords.items() if key not in ("if", "then", "else")}
        if self._random.random() < 0.5:
            return {"allOf": [rest, keywords["if"], keywords.get("then", True)]}
        return {"allOf": [rest, keywords.get("else", True)]}

    def _type(self, keywords: Keywords, *, short: bool) -> str:
        types = keywords.get("type")
        if types is None:
            usual = "string" if "not" not in keywords else self._one_of(_TYPES)
            return next((kind for kind, some in _INFERRED.items() if not keywords.keys().isdisjoint(some)), usual)
        if isinstance(types, str):
            return types
        if not types:
            raise SchemaError("two types are asked for at once that no value has both of")
        plain = [kind for kind in types if kind not in ("object", "array")]
        return self._one_of(plain if short and plain else types)

    def _of_type(self, kind: str, keywords: Keywords, name: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(keywords, depth)
            case "array":
                return self._array(keywords, name, depth)
            case "string":
                return self._text(keywords, name)
            case "boolean":
                return self._random.random() < 0.5
            case "null":
                return None
            case _:
                return self._number(keywords, whole=kind == "integer")

    # --- what holds values -----------------------------------------------------------------------------------------

    def _object(self, keywords: Keywords, depth: int) -> dict[str, Any]:
        properties: Keywords = keywords.get("properties", {})
        required: list[str] = keywords.get("required", [])
        most = keywords.get("maxProperties", math.inf)
        least = keywords.get("minProperties", 0)
        optional = [name for name in properties if name not in required and properties[name] is not False]
        room = min(most, least) if self._short(depth) else most
        kept = {*required, *optional[: int(max(0, min(room - len(required), len(optional))))]}
        names = [name for name in dict.fromkeys([*properties, *required]) if name in kept]
        made = {name: self.value(self._schema_of(name, keywords), name, depth + 1) for name in names}
        other = keywords.get("additionalProperties")
        free = not properties and (isinstance(other, dict) or "patternProperties" in keywords)
        least = max(least, 0 if self._short(depth) or not free else 2)
        for number in range(2 * int(min(least, most, _TOO_MANY))):
            if len(made) >= least:
                break
            name = self._name(keywords, number)
            made[name] = self.value(self._schema_of(name, keywords), name, depth + 1)
        return made

    def _name(self, keywords: Keywords, number: int) -> str:
        if "propertyNames" in keywords:
            return str(
                self.value({"type": "string", **self._schema.flat(keywords["propertyNames"])}, f"key{number + 1}", 0)
            )
        if patterns := list(keywords.get("patternProperties", ())):
            return self._matching(self._one_of(patterns))
        return f"key{number + 1}"

    def _schema_of(self, name: str, keywords: Keywords) -> Any:
        """What the property of an object has to be."""
        if name in keywords.get("properties", ()):
            return keywords["properties"][name]
        for pattern, schema in keywords.get("patternProperties", {}).items():
            if re.search(pattern, name):
                return schema
        return keywords.get("additionalProperties", True)

    def _array(self, keywords: Keywords, name: str, depth: int) -> list[Any]:
        first: list[Any] = keywords.get("prefixItems", [])
        rest: Any = keywords.get("items", True)
        if isinstance(rest, list):  # as older drafts write it
            first, rest = cast("list[Any]", rest), keywords.get("additionalItems", True)
        contained = keywords.get("minContains", 1) if "contains" in keywords else 0
        least = max(keywords.get("minItems", 0), contained)
        most = keywords.get("maxItems", math.inf)
        if self._short(depth):
            size = least
        else:
            size = max(least, 1, len(first)) + int(self._random.random() * 2 * (rest is not False and not first))
        self._count(int(min(size, _TOO_MANY + 1)))
        size = int(min(size, most, len(first) if rest is False else math.inf))
        made: list[Any] = []
        for place in range(size):
            schema: Any = first[place] if place < len(first) else rest
            if 0 <= place - len(first) < contained:
                schema = {"allOf": [rest, keywords["contains"]]}
            item = self.value(schema, name, depth + 1)
            for _ in range(_ATTEMPTS if keywords.get("uniqueItems") else 0):
                if item not in made:
                    break
                item = self.value(schema, name, depth + 1)
            made.append(item)
        return made

    # --- plain values ----------------------------------------------------------------------------------------------

    def _number(self, keywords: Keywords, *, whole: bool) -> float:
        if keywords.keys().isdisjoint(_OF_NUMBERS):
            return int(self._random.random() * (_SPAN + 1)) if whole else _SPAN * self._random.randrange(1, 1000) / 1000
        low, high = (self._bound(keywords, side) for side in ("inimum", "aximum"))
        if low is None and high is None:
            low, high = Fraction(0), Fraction(_SPAN)
        low = low if low is not None else (high or 0) - _SPAN
        high = high if high is not None else low + _SPAN
        step = Fraction(str(keywords.get("multipleOf", 1 if whole else 0)))
        step = Fraction(step.numerator) if whole else step  # of the multiples of p/q, those of p are whole
        if step:
            first, last = math.ceil(low / step), math.floor(high / step)
            first += low / step == first and keywords.get("exclusiveMinimum") == float(low)
            last -= high / step == last and keywords.get("exclusiveMaximum") == float(high)
            value = (first + int(self._random.random() * max(1, last - first + 1))) * Fraction(step)
        else:
            value = low + (high - low) * Fraction(self._random.randrange(1, 1000), 1000)
        return int(value) if value.denominator == 1 and step else float(value)

    def _bound(self, keywords: Keywords, side: str) -> Fraction | None:
        pair = [keywords.get(name) for name in (f"m{side}", f"exclusiveM{side}")]
        numbers = [Fraction(str(number)) for number in pair if number is not None and not isinstance(number, bool)]
        return None if not numbers else max(numbers) if side == "inimum" else min(numbers)

    def _text(self, keywords: Keywords, name: str) -> str:
        if "pattern" in keywords:
            text = self._matching(keywords["pattern"])
        elif keywords.get("format") in _FORMATS:
            text = _FORMATS[keywords["format"]](self._random)
        else:
            text = f"{name} {self._random.getrandbits(16):04x}"
        if keywords.get("contentEncoding") == "base64":
            return b64encode(text.encode()).decode()
        least, most = keywords.get("minLength", 0), keywords.get("maxLength")
        self._count(int(min(least, _TOO_MANY + 1)))
        if "pattern" not in keywords or not keywords["pattern"].endswith("$"):
            text = text.ljust(int(least), "x")
        fixed = "pattern" in keywords or keywords.get("format") in _FORMATS
        return text if fixed or most is None else text[: int(most)]

    def _matching(self, pattern: str) -> str:
        try:
            return text_matching(pattern, self._random)
        except PatternError as refused:
            raise SchemaError(f"no text is made for the pattern {pattern!r}: {refused}") from None

    # ---------------------------------------------------------------------------------------------------------------

    def _one_of(self, choices: Sequence[T]) -> T:
        if not choices:
            raise SchemaError("it leaves nothing to choose from")
        return choices[int(self._random.random() * len(choices))]

    def _short(self, depth: int) -> bool:
        return depth >= _DEEP or self._made > _MANY

    def _count(self, values: int) -> None:
        self._made += values
        if self._made > _TOO_MANY:
            raise SchemaError(f"it asks for more than {_TOO_MANY} values or characters")


def _date(random: Random) -> str:
    return f"20{random.randrange(10, 30)}-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}"


def _time(random: Random) -> str:
    return f"{random.randrange(24):02}:{random.randrange(60):02}:{random.randrange(60):02}Z"


def _uuid(random: Random) -> str:
    from uuid import UUID

    return str(UUID(int=random.getrandbits(128), version=4))


def _around_word(text: str) -> Callable[[Random], str]:
    return lambda random: text.format(f"name{random.getrandbits(16):04x}")


_MAIL, _HOST, _URL, _PATH = map(_around_word, ("{}@example.com", "{}.example.com", "https://example.com/{}", "/{}"))
_FORMATS: dict[str, Callable[[Random], str]] = {
    "date": _date,
    "time": _time,
    "date-time": lambda random: f"{_date(random)}T{_time(random)}",
    "decimal": lambda random: f"{random.randrange(100)}.{random.randrange(100):02}",
    "duration": lambda random: f"PT{random.randrange(1, 60)}M",
    "uuid": _uuid,
    "ipv4": lambda random: f"192.0.2.{random.randrange(256)}",
    "ipv6": lambda random: f"2001:db8::{random.getrandbits(16):x}",
    **dict.fromkeys(("email", "idn-email"), _MAIL),
    **dict.fromkeys(("hostname", "idn-hostname"), _HOST),
    **dict.fromkeys(("uri", "url", "iri"), _URL),
    **dict.fromkeys(("uri-reference", "iri-reference", "json-pointer"), _PATH),
    "uri-template": _around_word("/{}/{{id}}"),
    "relative-json-pointer": _around_word("0/{}"),
    "regex": _around_word("^{}$"),
}
