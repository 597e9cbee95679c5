"""The tools that one call of a model may call: what the model is told of them, and what its calls of them mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self, cast

import msgspec

from apxm.backends.dialogue import OfferedTool, RequestedCall, Round
from apxm.errors import OperationError
from apxm.operations.answers import as_said
from apxm.operations.labels import fold_label, matching_label
from apxm.operations.plain import plain
from apxm.operations.schemas import arguments_schema
from apxm.operations.types import JSON, Type, Value, text_form
from apxm.program.program import Capability
from apxm.source import shortened

_decode = msgspec.json.Decoder().decode
_LONGEST_NAME = 64
_LONGEST_FLAW = 500


Fit = Callable[[Value], Value]
"""A function that makes the arguments that a model gives those of a tool, or raises `ValueError`."""


def _fitting(type_: Type, arguments: Value) -> Value:
    return plain(as_said(arguments, type_), type_, "arguments")


class Offer:
    """Tools that one call may call.

    A model that calls one of them wrongly is told so as its result, since it can do better in the next round. What a
    tool then does is the program's concern: its failure is one of the operation that called it.
    """

    def __init__(self, tools: Sequence[OfferedTool], fit: Mapping[str, Fit]) -> None:
        """`fit` has, for each of the tools, what makes arguments its own."""
        self.tools = tuple(tools)
        self._fit = {fold_label(name): (name, each) for name, each in fit.items()}

    @classmethod
    def of(cls, capabilities: Sequence[Capability], records: Mapping[str, Type]) -> Self:
        """What a program offers that declares these capabilities and records."""
        types = {each.name: each.arguments(records) for each in capabilities}
        tools = [OfferedTool(e.name, arguments_schema(types[e.name]), e.description) for e in capabilities]
        return cls(tools, {name: partial(_fitting, type_) for name, type_ in types.items()})

    def meant(self, call: RequestedCall) -> dict[str, Value]:
        """The call as the program goes on with it: `tool` is the one that is called, or empty where none is, and then
        `error` says why, and `arguments` are what the model wrote."""
        tool, error = "", None
        arguments: Value = call.arguments
        try:
            arguments = _object(call.arguments)
            tool, arguments = self._fitting(call.tool, arguments)
        except ValueError as flaw:
            error = shortened(f"error: {flaw}", _LONGEST_FLAW)
        return {"id": call.id, "name": call.tool, "arguments": arguments, "tool": tool, "error": error}

    def _fitting(self, name: str, arguments: Value) -> tuple[str, Value]:
        """The tool that a name means, and the arguments with its defaults. Raises `ValueError`."""
        label = matching_label(name, self._fit)
        if label is None:
            listed = ", ".join(tool for tool, _ in self._fit.values())
            raise ValueError(f"there is no tool {shortened(name, _LONGEST_NAME)!r}; there are: {listed}")
        tool, fit = self._fit[label]
        return tool, fit(arguments)


def past_rounds(carried: Value) -> tuple[Round, ...]:
    """The rounds so far, as the program carries them. Raises `OperationError` where an artifact was made that carries
    something else."""
    try:
        return tuple(map(_past_round, cast("list[Any]", carried)))
    except (LookupError, TypeError, ValueError):
        raise OperationError("wrong_type", "`rounds` holds what are no rounds of calls") from None


def _past_round(entry: Mapping[str, Any]) -> Round:
    calls = [RequestedCall(call["id"], call["name"], _sent(call["arguments"])) for call in entry["calls"]]
    return Round(entry["text"], tuple(calls), tuple(map(text_form, entry["results"])))


def _sent(arguments: Value) -> str:
    """Arguments as they are told to the model again: endpoints read them, so what it wrote is JSON by then."""
    return text_form(arguments if isinstance(arguments, dict) else {"unreadable": arguments})


def _object(text: str) -> Value:
    """The arguments that a model wrote; nothing stands for none, and some write the text of a text. Raises
    `ValueError`."""
    found: Value = text
    try:
        for _ in range(2):
            if isinstance(found, str):
                found = _decode(found) if found.strip() else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"the arguments are no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("the arguments are no object of JSON")
    return plain(cast("dict[str, Value]", found), JSON, "the object of arguments")
