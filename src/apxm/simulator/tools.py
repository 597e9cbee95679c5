"""Which functions a simulated model calls.

Left to itself it calls one function in a turn, the first, and answers with text once a result has come, so that the
loop of an agent ends. Where it has to call, it calls those that it has not called in this turn, in their order, and the
last one from then on: a loop that ends with a function of its own, listed last, gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from msgspec import Raw, Struct

from apxm.simulator.bodies import BadRequestError
from apxm.simulator.messages import Message

Mode = Literal["none", "auto", "required"]


class Function(Struct):
    name: str
    description: str | None = None
    parameters: Raw = Raw()
    """A JSON schema; empty where the function takes nothing."""
    strict: bool | None = None


class Offer(NamedTuple):
    """A function that may be called, and where its schema stands in the body."""

    function: Function
    place: str


class ToolChoice(Struct, frozen=True):
    """Whether a function may, must or must not be called, and which ones may be."""

    mode: Mode = "auto"
    names: Sequence[str] | None = None
    """The functions that may be called; None leaves all of them."""
    several: bool = False
    """Whether one answer may call several. Only where the caller says so: most functions of a program do something."""
    place: str = "tool_choice"
    """The field that says it."""


def functions_to_call(offered: Sequence[Offer], choice: ToolChoice, messages: Sequence[Message]) -> list[Offer]:
    """The functions that the answer calls, none for an answer in words.

    Raises `BadRequestError` where the choice is of a function that there is not.
    """
    open_to = list(offered)
    if choice.names is not None:
        known = {function.name for function, _ in offered}
        for name in choice.names:
            if name not in known:
                raise BadRequestError(f"'{choice.place}' names {name!r}, which is not among them.", choice.place)
        open_to = [entry for entry in offered if entry.function.name in choice.names]
    if choice.mode == "required" and not open_to:
        raise BadRequestError("'tool_choice' wants a tool called, and there is none in 'tools'.", "tool_choice")
    if choice.mode == "none" or not open_to:
        return []
    called, answered = _turn(messages)
    if choice.mode == "auto" and answered:
        return []
    left = [entry for entry in open_to if entry.function.name not in called] or open_to[-1:]
    return left if choice.several else left[:1]


def _turn(messages: Sequence[Message]) -> tuple[set[str], bool]:
    """What was called, and whether a result has come, since the model last answered in words."""
    called: set[str] = set()
    answered = False
    for message in reversed(messages):
        if message.role == "assistant" and not message.called:
            break
        called.update(message.called)
        answered = answered or message.role in ("tool", "function")
    return called, answered
