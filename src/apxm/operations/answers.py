"""Answers of models, read as values of a type.

Models put JSON into a code fence and words around it, whatever they are told, and some leave out the object that a list
was to be wrapped in. All of that is looked through. What then does not fit is not guessed at: two values that differ in
one answer are as good as none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec

from apxm.errors import OperationError
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.plain import converted
from apxm.operations.schemas import ANSWER, stands_for_default
from apxm.operations.types import INT, JSON, STR, Type, Value
from apxm.source import shortened

UNFIT = "unfit_answer"
"""The kind of the error of an operation whose answer does not fit what it asked for."""
TOO_MANY_ROUNDS = "too_many_rounds"
"""That of one whose answer calls tools where it was to be one."""
OF_NO_USE = (UNFIT, TOO_MANY_ROUNDS)
"""Those of operations that were answered all the same."""

_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_MOST_TRIED = 50
"""Brackets in the words of an answer that may begin a value."""
_SHOWN = 80

_find_json = json.JSONDecoder().raw_decode
_decode = msgspec.json.Decoder().decode


class AnswerReader:
    """Reads answers of one type, or those that are one of several labels."""

    def __init__(self, expected: Type, choices: Sequence[str] = ()) -> None:
        self._expected = STR if choices else expected
        self._labels = {fold_label(choice): choice for choice in choices}

    def read(self, text: str) -> Value:
        """The value in an answer. Raises `OperationError` (`unfit_answer`), saying what was expected, what was found,
        and where in the value."""
        wrong = ""
        for candidates in ((text,), _fenced(text), _in_words(text)):
            fitting: dict[str, Value] = {}
            for candidate in candidates:
                try:
                    value = self._value(candidate)
                except OperationError as misfit:
                    wrong = wrong or misfit.message
                except msgspec.ValidationError:
                    wrong = wrong or f"expected {self._wanted}, found a number that is too large for any"
                except (msgspec.DecodeError, UnicodeError, RecursionError):
                    continue  # no JSON
                else:
                    fitting[repr(value)] = value
            if len(fitting) == 1:
                return next(iter(fitting.values()))
            if fitting:
                raise _unfit(f"expected one value, found {len(fitting)} that differ")
        raise _unfit(wrong or f"expected {self._wanted}, found {_beginning(text)}")

    @property
    def _wanted(self) -> str:
        labels = ", ".join(f'"{label}"' for label in self._labels.values())
        return f"one of {labels}" if labels else f"JSON of the type {self._expected}"

    def _value(self, text: str) -> Value:
        """The value that a text is. Raises `OperationError` for another one, and what msgspec does for no JSON."""
        if not self._labels:
            return converted(self._meant(_decode(text)), self._expected)
        label = matching_label(text, self._labels)
        if label is None:
            value = self._meant(_decode(text))
            label = matching_label(value, self._labels) if isinstance(value, str) else None
        if label is None:
            raise OperationError(UNFIT, f"expected {self._wanted}, found {_beginning(text)}")
        return self._labels[label]

    def _meant(self, value: Value) -> Value:
        """What an answer says: without the object around it, and as `as_said` has it."""
        expected = self._expected
        if expected.fields is None and isinstance(value, dict) and ANSWER in value:
            wrapped = cast(dict[str, Value], value)
            if expected != JSON or len(wrapped) == 1:
                value = wrapped[ANSWER]
        return as_said(value, expected)


def _unfit(why: str) -> OperationError:
    return OperationError(UNFIT, f"the answer does not fit: {why}")


def as_said(value: Value, expected: Type) -> Value:
    """`value` without the nulls by which strict answers leave out fields that have a default, and with whole numbers
    where JSON has them as ``3.0``."""
    expected = expected.present
    if isinstance(value, float) and expected == INT and value.is_integer():
        return int(value)
    if isinstance(value, list) and expected.is_list:
        return [as_said(item, expected.element or JSON) for item in cast(list[Value], value)]
    if isinstance(value, dict) and expected.fields is not None:
        types = {field.name: field for field in expected.fields}
        return {
            name: as_said(part, types[name].type) if name in types else part
            for name, part in cast(dict[str, Value], value).items()
            if part is not None or name not in types or not stands_for_default(types[name])
        }
    return cast(Value, value)


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


def _beginning(text: str) -> str:
    line = " ".join(text[: 4 * _SHOWN].split())
    return f'"{shortened(line, _SHOWN)}"' if line else "nothing"
