"""How the bodies of all calls are read, and what a caller is told of one that is no call."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")

Limit = Annotated[int, Meta(ge=1)] | None
Nothing: TypeAlias = None
"""The type of a field that changes what an answer has to be, in a way that the simulator does not know: anything but
`null` is refused."""
Anything: TypeAlias = Any
"""The type of a field that an answer repeats at most."""

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$")


class StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: Anything = None


def passing_over(names: str) -> type[Struct]:
    """A request that knows these fields, on which no simulated answer depends, and refuses others, on which one may."""
    return msgspec.defstruct("PassingOver", [(name, Any, None) for name in names.split()], forbid_unknown_fields=True)


def wants_usage(options: StreamOptions | None) -> bool:
    """Whether the stream shall end with the usage."""
    return options is not None and bool(options.include_usage)


class BadRequestError(Exception):
    """A body that is no call; `param` names the field at fault where it is known."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """What reads a body as a `kind`. It raises `BadRequestError`."""
    decode = msgspec.json.Decoder(kind).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            raise BadRequestError(*explained(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequestError(f"The body could not be read as JSON: {error}") from None

    return read


def explained(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """What is wrong with a body, and the name of the field as OpenAI writes it: ``messages[0].role``."""
    text = str(error)
    place = _PLACE.search(text)
    if place is not None:
        text = text[: place.start()]
    where = "" if place is None else place[1]
    if unknown := _UNKNOWN.match(text):
        name = f"{where}.{unknown[1]}" if where else unknown[1]
        return f"'{name}' is not served: the simulator knows no such field.", name
    if not where:
        return text, None
    if text.startswith("Expected `null`"):
        text = "the simulator does not serve it, expected none"
    return f"'{where}': {text}.", where.replace("[...]", "")
