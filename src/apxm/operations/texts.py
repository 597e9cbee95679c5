"""What the functions of AIS compute from text. All raise `OperationError`."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib import import_module
from typing import Any, NoReturn, cast

from apxm.errors import OperationError
from apxm.operations.plain import plain
from apxm.operations.sequences import LARGEST_LIST, expect_items, expect_length, joined, wrong_type
from apxm.operations.types import JSON, Value, check_size
from apxm.source import shortened

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def lower(text: str) -> str:
    return _of_length(text.lower())


def upper(text: str) -> str:
    return _of_length(text.upper())


def _of_length(text: str) -> str:
    """The text itself, unless it is too long: some letters are two or three in the other case."""
    expect_length(len(text))
    return text


def join(texts: list[Value], separator: str) -> str:
    for text in texts:
        if not isinstance(text, str):
            wrong_type("a list of texts", text)
    return joined(separator, texts)


def split(text: str, separator: str | None = None) -> list[str]:
    if separator == "":
        raise OperationError("bad_argument", "an empty separator splits nothing")
    parts = text.split(separator, LARGEST_LIST)
    expect_items(len(parts))
    return parts


def lines(text: str) -> list[str]:
    found = text.replace("\r\n", "\n").removesuffix("\n").split("\n", LARGEST_LIST) if text else []
    expect_items(len(found))
    return found


def replace(text: str, old: str, new: str) -> str:
    if not old:
        raise OperationError("bad_argument", "an empty text cannot be replaced")
    expect_length(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def matches(text: str, pattern: str) -> bool:
    """Whether some part of `text` fits `pattern`, in time linear in both."""
    try:
        return _compiled(pattern).search(text) is not None
    except ValueError as flaw:
        raise OperationError("bad_pattern", str(flaw)) from None


def pattern_flaw(pattern: str) -> str | None:
    """What is wrong with a regular expression; None where nothing is."""
    try:
        _compiled(pattern)
    except ValueError as flaw:
        return str(flaw)
    return None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    re2: Any = import_module("re2")  # which has no types; a program without patterns does not pay for it
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        shown = shortened(json.dumps(pattern, ensure_ascii=False), 60)
        reason = cast(bytes, error.args[0]).decode(errors="replace")
        raise ValueError(f"{shown} is no regular expression: {reason}") from None


def number(text: str) -> float:
    written = text.strip()
    found = float(written) if _NUMBER.fullmatch(written) else float("nan")
    if abs(found) < float("inf"):
        return found
    reason = "is not written as a number" if found != found else "is too large for a float"
    raise OperationError("bad_number", f"{shortened(json.dumps(text, ensure_ascii=False), 60)} {reason}")


def parse_json(text: str) -> Value:
    try:
        return plain(json.loads(text, parse_constant=_refuse_constant), JSON, "the text")
    except RecursionError:
        reason = "it nests too deeply"
    except ValueError as error:
        reason = str(error)
    raise OperationError("bad_json", f"{shortened(json.dumps(text, ensure_ascii=False), 60)} is no JSON: {reason}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def to_json(value: Value) -> str:
    check_size(value)
    return _of_length(_encode(value))
