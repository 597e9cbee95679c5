"""The seam between a run and whatever a tool is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from msgspec import Struct

from apxm.backends.dialogue import OfferedTool
from apxm.backends.protocol import Clock, Handle, Usage
from apxm.errors import ConfigurationError, OperationError
from apxm.operations.plain import plain
from apxm.operations.types import JSON, STR, Type, Value, text_form
from apxm.source import shortened
from apxm.tools.schemas import Declaration

Arguments = dict[str, Value]


class ToolAnswer(Struct, frozen=True):
    """What a tool gave: a value, or a text that may be the JSON of one."""

    value: object = None
    text: str | None = None
    usage: Usage = Usage(0, 0)
    service_ns: int | None = None

    @property
    def shown(self) -> str:
        """It for people, whether or not it is what was expected."""
        if self.text is not None:
            return self.text
        try:
            return text_form(cast(Value, self.value))
        except (OperationError, TypeError, ValueError, RecursionError):  # it is no JSON
            return repr(self.value)


class CallTool(Protocol):
    """One that is called in a task, which is cancelled to give the call up."""

    name: str
    timeout_s: float

    async def call(self, arguments: Arguments, /) -> ToolAnswer:
        """Raises `OperationError`."""
        ...

    async def flaws(self, declared: Declaration | None) -> list[str]:
        """Everything that keeps calls of it from working, and does not need one to be seen: it cannot be had, or takes
        or gives something else than `declared`."""
        ...

    async def hints(self) -> Mapping[str, bool]:
        """What whoever runs it says of it, such as that it only reads. Nobody vouches for that, and nothing obeys."""
        return {}

    async def offered(self) -> OfferedTool:
        """It as a model is told of it that may call it. Raises `ConfigurationError` where nobody knows what it
        takes."""
        raise ConfigurationError(
            f"tool {self.name!r} does not say what it takes, so no model can be told",
            hint="a program of AIS declares it, or a function with @apxm.tool calls it",
        )

    async def close(self) -> None:
        """Ends what it began; no call is in flight any more."""


class InstantTool(Protocol):
    """One whose calls need no task and no real time."""

    name: str
    timeout_s: float

    def begin(self, arguments: Arguments, clock: Clock, done: Callable[[Any], None], /) -> Handle: ...


Tool = CallTool | InstantTool


class ConnectionLostError(Exception):
    """The server of a tool is not there any more."""


def failed(tool: str, why: str) -> OperationError:
    """A call that the tool itself says has failed."""
    return OperationError("tool_failed", f"tool {tool!r}: {why}")


def shown(error: BaseException) -> str:
    """What an error says; of a group, what its first part does."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return shortened(str(error) or type(error).__name__, 2000)


def read_answer(answer: ToolAnswer, expected: Type, tool: str) -> Value:
    """The value of type `expected` that a tool gave. A text is one as it stands where `expected` is ``str``; else it is
    JSON, or, for ``json``, any text. Raises `OperationError`."""
    value = answer.value
    if answer.text is not None:
        value = answer.text
        if expected != STR:
            try:
                value = json.loads(answer.text)
            except (ValueError, RecursionError):
                if expected != JSON:
                    found = "no text" if not answer.text else f"{answer.text[:60]!r}"
                    raise OperationError(
                        "wrong_type", f"tool {tool!r} gave {found}, expected the JSON of a {expected}"
                    ) from None
    try:
        return plain(value, expected, f"what tool {tool!r} gave", leaves_out=True)  # tools tell more than one asks for
    except ValueError as misfit:
        raise OperationError("wrong_type", str(misfit)) from None
