"""Answers of models, read as values of a type.

Models put JSON into a code fence and words around it, whatever they are told, and some leave out the object that a list
was to be wrapped in. All of that is looked through. What then does not fit is not guessed at: two values that differ in
one answer are as good as none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, NoReturn, Optional, cast

import msgspec
from msgspec import Meta

from apxm.errors import OperationError
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.schemas import ANSWER, holds_json, is_record
from apxm.operations.types import DEEPEST_VALUE, JSON, Type, Value, conforms
from apxm.source import shortened

UNFIT = "unfit_answer"
"""The kind of the error of an operation whose answer does not fit what it asked for."""

_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_MOST_TRIED = 50
"""Brackets in the words of an answer that may begin a value."""
_SHOWN = 80
_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_INT = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_SCALARS: dict[str, Any] = {"str": str, "int": _INT, "float": float, "bool": bool, "null": None, "json": Any}

_find_json = json.JSONDecoder().raw_decode


class AnswerReader:
    """Reads answers of one type, or those that are one of several labels."""

    def __init__(self, expected: Type, choices: Sequence[str] = ()) -> None:
        self._labels = {fold_label(choice): choice for choice in choices}
        self._free = holds_json(expected)
        self._expected = "one of " + ", ".join(f'"{choice}"' for choice in choices) if choices else str(expected)
        inner = str if choices else _python_type(expected)
        # Whether an object is the one around the value cannot be seen from a union with another object.
        self._bare = msgspec.json.Decoder(inner)
        wrapped = msgspec.defstruct("Wrapped", [(ANSWER, inner)])
        self._wrapped = None if is_record(expected) and not choices else msgspec.json.Decoder(wrapped)

    def read(self, text: str) -> Value:
        """The value in an answer. Raises `OperationError` (`unfit_answer`), saying what was found, and where in it."""
        wrong = ""
        for candidates in ((text,), _fenced(text), _in_words(text)):
            fitting: dict[str, Value] = {}
            for candidate in candidates:
                try:
                    value = self._value(candidate)
                except _Misfit as misfit:
                    wrong = wrong or str(misfit)
                else:
                    fitting[repr(value)] = value
            if len(fitting) == 1:
                return next(iter(fitting.values()))
            if fitting:
                self._refuse(f"it holds {len(fitting)} values that do, and they differ")
        self._refuse(wrong or f"found {_beginning(text)}" if text.strip() else "it is empty")

    def _refuse(self, why: str) -> NoReturn:
        raise OperationError(UNFIT, f"the answer does not fit, {self._expected} is expected: {why}")

    def _value(self, text: str) -> Value:
        """The value that a text is. Raises `_Misfit`, empty where it is no JSON at all."""
        if self._labels and (label := matching_label(text, self._labels)):
            return self._labels[label]
        try:
            value = msgspec.to_builtins(self._decoded(text))
        except msgspec.ValidationError as error:
            raise _Misfit(_told(error)) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _Misfit from None
        if self._labels:
            label = matching_label(value, self._labels)
            if label is None:
                raise _Misfit(f"found {_beginning(value)}")
            return self._labels[label]
        if self._free and not conforms(value, JSON):
            raise _Misfit(f"it has a number beyond 64 bits, or more than {DEEPEST_VALUE} levels")
        return value

    def _decoded(self, text: str) -> object:
        if self._wrapped is None:
            return self._bare.decode(text)
        try:
            return getattr(self._wrapped.decode(text), ANSWER)
        except msgspec.ValidationError as wrapped:
            try:
                return self._bare.decode(text)
            except msgspec.ValidationError as bare:
                # An object can only have been meant as the one around the value, which its own error says more of.
                raise (wrapped if text.lstrip().startswith("{") else bare) from None


class _Misfit(Exception):  # noqa: N818  # it never leaves this file
    pass


def _fenced(text: str) -> Iterator[str]:
    """What stands in code fences."""
    return (found[1] for found in _FENCE.finditer(text))


def _in_words(text: str) -> Iterator[str]:
    """The objects and lists among other words."""
    at = 0
    for _ in range(_MOST_TRIED):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        try:
            end = _find_json(text, opening.start())[1]
        except (ValueError, RecursionError):
            at = opening.end()
        else:
            yield text[opening.start() : end]
            at = end


def _told(error: msgspec.ValidationError) -> str:
    """``expected int, got str, at tags[...]``"""
    text = str(error)
    place = _PLACE.search(text)
    if place is not None:
        text = text[: place.start()]
    what = text[:1].lower() + text[1:].replace("`", "")
    where = "" if place is None else place[1].removeprefix(ANSWER).removeprefix(".")
    return f"{what}, at {where}" if where else what


def _beginning(text: str) -> str:
    return f'"{shortened(" ".join(text[: 4 * _SHOWN].split()), _SHOWN)}"'


def _python_type(expected: Type) -> Any:
    """What msgspec reads a value of the type as."""
    inner = None if expected.element is None else _python_type(expected.element)
    if expected.name == "list":
        return cast(Any, list)[inner]
    if expected.name == "optional":
        return cast(Any, Optional)[inner]
    return _SCALARS[expected.name] if expected.name in _SCALARS else _record(expected)


def _record(expected: Type) -> Any:
    """A struct whose fields have names of their own here: those of the record may be none in Python."""
    fields: list[tuple[Any, ...]] = []
    names: dict[str, str] = {}
    defaults: dict[str, Callable[[], object]] = {}
    for number, field in enumerate(expected.fields or ()):
        name = f"field_{number}"
        names[name] = field.name
        inner = _python_type(field.type)
        if field.default is not None:
            default = partial(msgspec.json.Decoder(inner).decode, field.default)
            fields.append((name, cast(Any, Optional)[inner], msgspec.field(default_factory=default)))
            if field.type.name not in ("optional", "json"):
                defaults[name] = default
        else:
            fields.append((name, inner, None) if field.type.name == "optional" else (name, inner))

    def fill(record: object) -> None:
        """Null stands for the default where the field itself cannot be null."""
        for name, default in defaults.items():
            if getattr(record, name) is None:
                setattr(record, name, default())

    return msgspec.defstruct("Record", fields, namespace={"__post_init__": fill}, rename=names, kw_only=True)
