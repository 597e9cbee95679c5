"""Constants of AIS: how the printed text writes them, and when two are the same."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import cast

from apxm.operations.types import Value


def written(value: Value) -> str:
    """A constant as the printed text shows it: JSON, as far as the lexer of MLIR's syntax goes."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            # That lexer wants a point before the exponent: 1e-05 is written 1.0e-05.
            mantissa, exponent, power = repr(value).partition("e")
            return (mantissa if "." in mantissa else f"{mantissa}.0") + exponent + power
        case str():
            return quoted(value)
        case list():
            return f"[{', '.join(written(item) for item in cast(list[Value], value))}]"
        case _:
            entries = cast(dict[str, Value], value)
            return "{" + ", ".join(f"{quoted(key)}: {written(item)}" for key, item in entries.items()) + "}"


def quoted(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'


def identity(value: Value) -> Hashable:
    """Equal for two constants that are the same, and for no others: in Python ``1 == 1.0 == True`` and ``0.0 == -0.0``,
    and objects whose keys stand in another order are sent as another text."""
    return value if type(value) is str else (written(value),)


def size(value: Value) -> int:
    """The characters of a constant as compact JSON."""
    return len(_encode(value))


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ESCAPES = {chr(code): f"\\{code:02X}" for code in (*range(0x20), 0x7F)} | {
    "\n": "\\n",
    "\t": "\\t",
    '"': '\\"',
    "\\": "\\\\",
}
