"""The calls of tools in the message of a model, whole or in parts: what every endpoint means by them, however it writes
them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from apxm.backends.dialogue import RequestedCall
from apxm.source import as_utf8


def read_calls(tool_calls: object, function_call: object = None) -> tuple[RequestedCall, ...]:
    """The calls of a message; `function_call` is the older form of the field, for one call alone.

    Each has an id of its own: what has none, or another call's, gets one. Raises `ValueError` for what is no call.
    """
    found: list[RequestedCall] = []
    ids: set[str] = set()
    for number, (own, tool, arguments) in enumerate(_each(tool_calls or function_call), 1):
        own = own or f"call_{number}"
        while own in ids:
            own = f"{own}_{number}"
        ids.add(own)
        found.append(RequestedCall(as_utf8(own), as_utf8(tool), as_utf8(arguments)))
    return tuple(found)


def _each(calls: object) -> Iterator[tuple[str, str, str]]:
    """Id, name and arguments, those of which nothing is said empty."""
    for call in cast("list[object]", calls) if isinstance(calls, list) else [calls] if calls else []:
        if not isinstance(call, dict):
            raise ValueError("a call of a tool that is no object")
        fields = cast("dict[str, Any]", call)
        function = _function(fields)
        yield _text(fields.get("id")), _text(function.get("name")), _arguments(function)


def _function(fields: dict[str, Any]) -> dict[str, Any]:
    """What says which function is called: some leave out the object around it."""
    function = fields.get("function")
    return cast("dict[str, Any]", function) if isinstance(function, dict) else fields


def _arguments(function: dict[str, Any]) -> str:
    given = function.get("arguments")
    if isinstance(given, str | None):
        return given or ""
    return json.dumps(given, ensure_ascii=False)


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""


class CallParts:
    """The calls of a message that comes in parts."""

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        """What came so far; of the arguments the pieces, as there may be many thousands."""
        self._by_index: dict[int, dict[str, Any]] = {}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What came so far, as a whole message would have it."""
        return [{**call, "arguments": "".join(call["arguments"])} for call in self._calls]

    def add(self, parts: object) -> None:
        """The next part of one or several calls. What says neither where it belongs nor what it calls goes on with the
        last one. Raises `ValueError` for what is no such part."""
        for part in cast("list[object]", parts) if isinstance(parts, list) else [parts]:
            if not isinstance(part, dict):
                raise ValueError("a part of a call of a tool that is no object")
            self._add(cast("dict[str, Any]", part))

    def _add(self, part: dict[str, Any]) -> None:
        index, function = part.get("index"), _function(part)
        own, name = _text(part.get("id")), _text(function.get("name"))
        call = self._by_index.get(index) if isinstance(index, int) else self._calls[-1] if self._calls else None
        if call is None or _is_another(call, own, name, indexed=isinstance(index, int)):
            call = dict[str, Any](id="", name="", arguments=[])
            self._calls.append(call)
            if isinstance(index, int):
                self._by_index[index] = call
        call["id"] = call["id"] or own
        call["name"] = call["name"] or name
        call["arguments"].append(_arguments(function))


def _is_another(call: dict[str, Any], own: str, name: str, *, indexed: bool) -> bool:
    """Whether a part begins another call than `call`, behind which it comes: some give all of them one index, or
    none."""
    if own and call["id"]:
        return own != call["id"]
    return not indexed and bool(name and call["name"])
