"""Types and constants of AIS as xDSL attributes, and how both are written in the textual form."""

from __future__ import annotations

import json
import math
from functools import cached_property, lru_cache
from typing import cast

from xdsl.ir import Data, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from apxm.operations.types import SCALARS, Type, Value, list_of


@irdl_attr_definition
class ValueType(Data[Type], TypeAttribute):
    """A type of AIS as the type of an SSA value."""

    name = "ais.type"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Type:
        with parser.in_angle_brackets():
            return parse_type(parser)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))


@lru_cache(maxsize=1024)
def value_type(type_: Type) -> ValueType:
    """The attribute for a type; a module holds few of them, many times."""
    return ValueType(type_)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@irdl_attr_definition
class LiteralAttr(Data[str]):
    """A constant of AIS, held as its compact JSON.

    JSON and not the Python value, because attributes are compared and hashed, and in Python ``1 == 1.0 == True``.
    xDSL's own `StringAttr` does not read back text outside ASCII.
    """

    name = "ais.literal"

    @staticmethod
    def of(value: Value) -> LiteralAttr:
        """Raises `ValueError` for a float that is not finite: no source can write one, so no pass may make one."""
        return LiteralAttr(_encode(value))

    @cached_property
    def value(self) -> Value:
        return json.loads(self.data)

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> str:
        with parser.in_angle_brackets():
            return parse_literal(parser).data

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            print_literal(printer, self)

    def verify(self) -> None:
        if not self.data:
            raise VerifyException("a literal holds JSON, found nothing")


# --- the textual form: JSON, as far as the lexer of MLIR's syntax goes ---------------------------------------------


def parse_type(parser: AttrParser) -> Type:
    name = parser.parse_identifier(" of a type")
    if name == "list":
        with parser.in_square_brackets():
            return list_of(parse_type(parser))
    if name not in SCALARS:
        parser.raise_error(f"unknown type {name!r}, expected list[…] or one of {', '.join(SCALARS)}")
    return SCALARS[name]


def print_literal(printer: Printer, literal: LiteralAttr) -> None:
    printer.print_string(_written(literal.value))


def parse_literal(parser: AttrParser) -> LiteralAttr:
    return LiteralAttr.of(_parse_value(parser))


def print_text(printer: Printer, text: str) -> None:
    printer.print_string(_quoted(text))


def parse_text(parser: AttrParser) -> str:
    text = parse_optional_text(parser)
    if text is None:
        parser.raise_error("expected a text in quotes")
    return text


def parse_optional_text(parser: AttrParser) -> str | None:
    # A text with both an escape and a character outside ASCII is a token of bytes to xDSL's lexer.
    if (text := parser.parse_optional_str_literal()) is not None:
        return text
    encoded = parser.parse_optional_bytes_literal()
    return None if encoded is None else encoded.decode("utf-8")


def _written(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            # The lexer wants a point before the exponent: 1e-05 is written 1.0e-05.
            mantissa, exponent, power = repr(value).partition("e")
            return (mantissa if "." in mantissa else f"{mantissa}.0") + exponent + power
        case str():
            return _quoted(value)
        case list():
            return f"[{', '.join(_written(item) for item in cast(list[Value], value))}]"
        case _:
            entries = cast(dict[str, Value], value)
            return "{" + ", ".join(f"{_quoted(key)}: {_written(item)}" for key, item in entries.items()) + "}"


def _quoted(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'


_ESCAPES = {chr(code): f"\\{code:02X}" for code in (*range(0x20), 0x7F)} | {
    "\n": "\\n",
    "\t": "\\t",
    '"': '\\"',
    "\\": "\\\\",
}


def _parse_value(parser: AttrParser) -> Value:
    if (text := parse_optional_text(parser)) is not None:
        return text
    items = parser.parse_optional_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_value(parser))
    if items is not None:
        return items
    if (word := parser.parse_optional_keyword_in(("true", "false", "null"))) is not None:
        return {"true": True, "false": False, "null": None}[word]
    if (number := parser.parse_optional_number()) is not None:
        if not math.isfinite(number):
            parser.raise_error("a number of AIS is finite")
        return number

    def entry() -> tuple[str, Value]:
        key = parse_text(parser)
        parser.parse_punctuation(":")
        return key, _parse_value(parser)

    entries = parser.parse_optional_comma_separated_list(parser.Delimiter.BRACES, entry)
    if entries is None:
        parser.raise_error("expected a literal: text, a number, true, false, null, a list or an object")
    return dict(entries)
