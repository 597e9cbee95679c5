"""What a simulated model says where a shape is asked for, and how it misses that on demand."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, cast

import msgspec

from apxm.backends.faults import FaultKind
from apxm.source import as_utf8


def drawn(schema: bytes, *parts: str) -> Any:
    """A value of a JSON schema that follows from `parts`. Raises `SchemaError`."""
    from apxm.backends.examples import example  # few runs need it
    from apxm.backends.schemas import read_schema

    digest = blake2b(schema, digest_size=8)
    for part in parts:
        digest.update(b"\0" + part.encode(errors="surrogatepass"))
    return example(read_schema(schema), int.from_bytes(digest.digest()))


def drawn_text(schema: str, *parts: str) -> str | None:
    """That value as JSON; None where none was found that fits."""
    from apxm.backends.schemas import SchemaError

    try:
        return msgspec.json.encode(drawn(schema.encode(), *parts)).decode()
    except SchemaError:
        return None


def misshapen(fault: FaultKind, text: str, words: str) -> str:
    """What a fault makes of an answer that has its shape; `words` is what is said where none is asked for."""
    match fault:
        case "fence":
            return f"```json\n{text}\n```"
        case "prose":
            return f"Here is what you asked for:\n\n{text}\n\nLet me know if you need anything else."
        case "wrong_type":
            return _mistyped_text(text)
        case "cut_off":
            return text[: len(text) // 2]
        case "unshaped":
            return words
        case _:
            return text


def _mistyped_text(text: str) -> str:
    try:
        return as_utf8(json.dumps(_mistyped(json.loads(text)), ensure_ascii=False))
    except (ValueError, RecursionError):
        return text  # it has no types


def _mistyped(value: object) -> object:
    """The value with none of its parts of the type that they had."""
    match value:
        case dict():
            return {name: _mistyped(part) for name, part in cast(dict[str, object], value).items()}
        case list() if value:
            return [_mistyped(part) for part in cast(list[object], value)]
        case str():
            return 0
        case None:
            return {}
        case _:
            return "none of that"
