"""JSON schemas as a caller sends them: checked, their references followed, what combines schemas taken together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeAlias, cast

import msgspec

Keywords: TypeAlias = dict[str, Any]
"""A schema that is an object: all but `true` and `false`."""
_ALONE = frozenset({"$schema", "$id", "$defs", "definitions", "$comment", "title", "description"})
"""Keywords that say something of the schema that they stand in, and nothing of a value."""


_DEEPEST = 60
"""Levels of JSON. With this and the next, whatever walks over a schema stays within what Python lets functions nest."""
_LONGEST_CHAIN = 20
_MOST_TOLD = 300


class SchemaError(Exception):
    """A schema that is none, or that no value is made for."""


class Schema:
    def __init__(self, root: Any) -> None:
        if not isinstance(root, dict | bool):
            raise SchemaError(f"found {root!r}, expected an object")
        _must_be_readable(root)
        self.root: Any = cast(Any, root)
        self._validator: Any = None if _is_plain(self.root) else _validator(self.root)
        self._heights: dict[str, float] = {}
        self._must_have_no_circle()
        self._measure()

    @property
    def is_plain(self) -> bool:
        """Whether a value that is made of its parts one by one fits it for sure, so that nobody has to look."""
        return self._validator is None

    def fits(self, value: object, schema: Any = None) -> bool:
        """Whether a value that was made for it is valid, against a part of this schema where one is given."""
        if self._validator is None:
            return True
        if schema is None or schema is self.root:
            return bool(self._validator.is_valid(value))
        return bool(self._validator.evolve(schema=schema).is_valid(value))

    def what_is_wrong(self, value: object) -> str:
        error = next(iter(self._validator.iter_errors(value)), None)
        return "" if error is None else _told(error)

    def flat(self, schema: Any) -> Keywords:
        """A schema without its `$ref` and `allOf`: what these say stands beside the rest."""
        whole = _keywords(schema)
        while True:
            if "$ref" in whole:
                rest = {name: value for name, value in whole.items() if name != "$ref"}
                whole = merged(_keywords(self._referred(whole["$ref"])), rest)
            elif "allOf" in whole:
                parts = whole["allOf"]
                whole = {name: value for name, value in whole.items() if name != "allOf"}
                for part in parts:
                    whole = merged(whole, _keywords(part))
            else:
                return whole

    def height(self, schema: Any) -> float:
        """How many levels the least deep value has; infinite where a schema needs itself."""
        if not isinstance(schema, dict):
            return 0
        keywords = cast(Keywords, schema)
        heights = [0.0]
        if "$ref" in keywords:
            heights.append(self._heights.get(keywords["$ref"], math.inf))
        heights += [self.height(part) for part in keywords.get("allOf", ())]
        heights += [min(map(self.height, keywords[some])) for some in ("anyOf", "oneOf") if some in keywords]
        if "enum" not in keywords and "const" not in keywords:
            heights += [1 + self.height(part) for part in _needed(keywords)]
        return max(heights)

    def _must_have_no_circle(self) -> None:
        """Refuses a circle of references to the same value: neither a writer nor a checker would come out of it."""
        referred = {name: set(_in_place(self._referred(name))) for name in self._references()}
        try:
            order = list(TopologicalSorter(referred).static_order())
        except CycleError:
            raise SchemaError("its references lead in a circle: no value of it ends") from None
        chains: dict[str, int] = {}
        for name in order:
            chains[name] = 1 + max([chains[other] for other in referred[name]], default=0)
        if max(chains.values(), default=0) > _LONGEST_CHAIN:
            raise SchemaError(f"more than {_LONGEST_CHAIN} references follow each other")

    def _measure(self) -> None:
        """The heights of what is referred to: raised from the leaves until nothing changes."""
        references = self._references()
        self._heights = dict.fromkeys(references, math.inf)
        for _ in references:
            before = dict(self._heights)
            for reference in references:
                self._heights[reference] = self.height(self._referred(reference))
            if before == self._heights:
                break
        if self.height(self.root) == math.inf:
            raise SchemaError("it needs itself again and again: no value of it ends")

    def _references(self) -> set[str]:
        return {part["$ref"] for part, _ in _parts(self.root) if isinstance(part.get("$ref"), str)}

    def _referred(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise SchemaError(f"$ref {reference!r} leads out of the schema; '#/…' is what is followed")
        found: Any = self.root
        try:
            for step in reference[1:].split("/")[1:]:
                step = step.replace("~1", "/").replace("~0", "~")
                found = cast(Any, found[int(step)] if isinstance(found, list) else found[step])
        except (LookupError, TypeError, ValueError):
            raise SchemaError(f"$ref {reference!r} leads nowhere") from None
        return found


@lru_cache(maxsize=64)
def read_schema(text: bytes) -> Schema:
    """The schema that is written as JSON. Raises `SchemaError`."""
    try:
        return Schema(msgspec.json.decode(text))
    except RecursionError:
        raise SchemaError("it is nested too deeply") from None


_WORDS = ("title", "description")
_SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})


def _is_plain(schema: object) -> bool:
    """Whether it is made of types, properties, items, alternatives and words to choose from, as the ones of a program
    are."""
    if not isinstance(schema, dict):
        return False
    match {name: part for name, part in cast(Keywords, schema).items() if name not in _WORDS or type(part) is not str}:
        case {"anyOf": [_, *_] as some, **rest}:
            return not rest and all(map(_is_plain, some))
        case {"type": "string", "enum": [_, *_] as words, **rest}:
            return not rest and all(isinstance(word, str) for word in words)
        case {"type": "array", "items": items, **rest}:
            return not rest and _is_plain(items)
        case {"type": "object", "properties": {**parts}, "required": [*names], "additionalProperties": False, **rest}:
            known = all(isinstance(name, str) and name in parts for name in names)
            return not rest and known and all(map(_is_plain, parts.values()))
        case {"type": str() as kind, **rest}:
            return not rest and kind in _SCALARS
        case said:
            return not said


def _validator(root: Any) -> Any:
    """What checks values of a schema, which is one of its draft. Raises `SchemaError`."""
    # Loaded here, which takes a third of a second: plain schemas do without.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError as Invalid
    from jsonschema.validators import validator_for
    from referencing import Registry

    try:
        draft: Any = validator_for(root, default=Draft202012Validator)
    except (AttributeError, TypeError, ValueError):
        raise SchemaError("its $schema is no address") from None
    try:
        draft.check_schema(root)
    except Invalid as invalid:
        raise SchemaError(_told(invalid)) from None
    nowhere: Registry[Any] = Registry()  # the default one would fetch what a schema refers to
    return draft(root, registry=nowhere)


def merged(one: Keywords, other: Keywords) -> Keywords:
    """Both at once, as far as that can be said by one; where it cannot, `other` is heard."""
    whole = {name: value for name, value in one.items() if name not in _ALONE} | other
    for name in one.keys() & other.keys():
        mine, theirs = one[name], other[name]
        if name == "properties":
            whole[name] = (
                mine | theirs | {key: {"allOf": [mine[key], theirs[key]]} for key in mine.keys() & theirs.keys()}
            )
        elif name in ("items", "additionalProperties", "propertyNames", "contains", "not"):
            whole[name] = {"anyOf": [mine, theirs]} if name == "not" else _both(mine, theirs)
        elif name == "required":
            whole[name] = [*mine, *(key for key in theirs if key not in mine)]
        elif name == "enum":
            whole[name] = [value for value in theirs if value in mine]
        elif name == "type":
            whole[name] = _types_of_both(_listed(mine), _listed(theirs))
        elif name in ("allOf", "anyOf", "oneOf"):
            rest = [*whole.get("allOf", ()), {name: mine}] if name != "allOf" else [*mine, *theirs]
            whole["allOf"] = rest
        elif name.startswith(("min", "exclusiveMin")):
            whole[name] = max(mine, theirs)
        elif name.startswith(("max", "exclusiveMax")):
            whole[name] = min(mine, theirs)
    return whole


def _both(mine: Any, theirs: Any) -> Any:
    if mine is True or theirs is True:
        return theirs if mine is True else mine
    return False if mine is False or theirs is False else {"allOf": [mine, theirs]}


def _listed(types: str | list[str]) -> list[str]:
    return [types] if isinstance(types, str) else types


def _types_of_both(mine: list[str], theirs: list[str]) -> list[str]:
    both = [kind for kind in theirs if kind in mine]
    whole = "integer" in mine + theirs and "number" in mine + theirs and "integer" not in both
    return [*(["integer"] if whole else []), *(kind for kind in both if not (whole and kind == "number"))]


def _keywords(schema: Any) -> Keywords:
    if schema is False:
        raise SchemaError("a part of it is false: no value fits that")
    return cast(Keywords, schema) if isinstance(schema, dict) else {}


def _needed(keywords: Keywords) -> Iterator[Any]:
    """The schemas of what a value cannot do without."""
    properties = keywords.get("properties", {})
    yield from (properties[name] for name in keywords.get("required", ()) if name in properties)
    if keywords.get("minItems", 0):
        yield from keywords.get("prefixItems", ())
        yield keywords.get("items")


def _must_be_readable(root: Any) -> None:
    for part, depth in _parts(root):
        if depth > _DEEPEST:
            raise SchemaError(f"it is nested more than {_DEEPEST} levels deep")
        refused = [name for name in ("$dynamicRef", "$recursiveRef") if isinstance(part.get(name), str)]
        if "$id" in part and part is not root and isinstance(part["$id"], str):
            refused.append("a further $id")
        if refused:
            raise SchemaError(f"{refused[0]} is not served; '$ref': '#/…' is what is followed")


def _parts(schema: Any) -> Iterator[tuple[Keywords, int]]:
    """All objects in it, schemas or not, with how deep they lie."""
    stack: list[tuple[Any, int]] = [(schema, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, dict):
            keywords = cast(Keywords, item)
            yield keywords, depth
            stack.extend((value, depth + 1) for value in keywords.values())
        elif isinstance(item, list):
            stack.extend((value, depth + 1) for value in cast("list[Any]", item))


def _in_place(schema: Any) -> Iterator[str]:
    """What it refers to for the same value, not for a part of it."""
    if not isinstance(schema, dict):
        return
    keywords = cast(Keywords, schema)
    if "$ref" in keywords:
        yield keywords["$ref"]
    inner = [keywords.get(name) for name in ("not", "if", "then", "else")]
    for name in ("allOf", "anyOf", "oneOf"):
        inner += keywords.get(name, ())
    inner += keywords.get("dependentSchemas", {}).values()
    for part in inner:
        yield from _in_place(part)


def _told(error: Any) -> str:
    """What jsonschema found wrong, without all of a long value."""
    message = str(error.message)
    if len(message) > _MOST_TOLD:
        message = f"{message[: _MOST_TOLD // 2]} … {message[-_MOST_TOLD // 2 :]}"
    return f"{message}, at /{'/'.join(str(step) for step in error.absolute_path)}"
