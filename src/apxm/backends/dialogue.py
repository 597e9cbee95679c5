"""What passes between a model and the tools that it may call before it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from msgspec import Struct

from apxm.source import as_utf8


class OfferedTool(Struct, frozen=True, omit_defaults=True):
    """A tool that a model may call."""

    name: str
    schema: str
    """The JSON schema of the object of its arguments."""
    description: str = ""


class RequestedCall(Struct, frozen=True):
    """A call of a tool that a model asks for. Nothing is believed of it: that it is one of those that were offered, and
    that its arguments are JSON, is for whoever makes it to find out."""

    id: str
    """What its result is told by."""
    tool: str
    arguments: str
    """What the model wrote, which should be the JSON of an object."""


class Round(Struct, frozen=True):
    """Calls that a model asked for in one answer, and what came of them."""

    text: str
    """What it said beside them."""
    calls: tuple[RequestedCall, ...]
    results: tuple[str, ...]
    """One for each call."""

    @property
    def texts(self) -> Iterator[str]:
        """All that it adds to what a model reads, in its order."""
        yield self.text
        for call in self.calls:
            yield from (call.tool, call.arguments)
        yield from self.results


def sound_calls(calls: object) -> tuple[RequestedCall, ...]:
    """Calls whose texts are plain ones. Raises `TypeError`, saying what they are instead."""
    if not isinstance(calls, tuple):
        raise TypeError(f"a ModelAnswer whose calls are a {type(calls).__name__}, expected a tuple")
    return tuple(map(_sound_call, cast("tuple[object, ...]", calls)))


def _sound_call(call: object) -> RequestedCall:
    match call:
        case RequestedCall(id=str() as own, tool=str() as tool, arguments=str() as arguments):
            own, tool, arguments = (as_utf8(str.__str__(text)) for text in (own, tool, arguments))
            return RequestedCall(own, tool, arguments)
        case _:
            raise TypeError(f"a ModelAnswer with a {type(call).__name__} among its calls, expected a RequestedCall")
