"""`ask` and its family: a model call that ordinary code makes, and waits for in its lane."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import FrameType
from typing import Any

from apxm.errors import UsageError
from apxm.lanes.lane import LANE, Lane
from apxm.lanes.run import RUN, Asked, Site
from apxm.operations.catalog import OPERATIONS
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program.program import Literal, Operand, Operate
from apxm.runtime.handlers.model import ModelCall

_COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"})
"""Code that is part of the function around it."""


@lru_cache(maxsize=1024)
def _operation(name: str, context: int, options: tuple[tuple[str, Any], ...]) -> ModelCall:
    """The operation of all calls with these options and so many values of context."""
    operands = tuple(range(1 + context))
    node = Operate(
        operation=name,
        operands=operands,
        arguments=tuple(map(Operand, operands)),
        options={option: Literal(list(value) if isinstance(value, tuple) else value) for option, value in options},
        result="str",
    )
    return ModelCall(OPERATIONS[name], node)


def begin(name: str, prompt: object, context: Sequence[object], options: dict[str, Any], frame: FrameType) -> Asked:
    """Makes a call from the lane that `frame` runs in, and does not wait for it."""
    lane = LANE.get()
    if lane is None:
        raise UsageError(f"`{name}` is called outside of a flow", hint="call it in a function under @apxm.flow")
    given = tuple(sorted((option, _literal(value)) for option, value in options.items() if value is not None))
    operation = _operation(name, len(context), given)
    values = [_value(value, name) for value in (prompt, *context)]
    return RUN.get().ask(lane, operation, values, name, _site(lane, frame))


def _value(value: object, name: str) -> Value:
    """What a call is given, as a backend can be told it."""
    return value if type(value) is str else plain(value, JSON, f"what `{name}` is given")


def _literal(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _site(lane: Lane, frame: FrameType) -> Site:
    line = frame.f_lineno
    own = None if lane.loop is None else lane.loop.code
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_code is not own and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return Site(lane.path(f"{code.co_qualname}:{line}", code), line)


def call(name: str, prompt: object, context: Sequence[object], options: dict[str, Any]) -> Any:
    asked = begin(name, prompt, context, options, sys._getframe(2))
    return RUN.get().answer(asked)


def ask(
    prompt: object,
    /,
    *context: object,
    system: str | None = None,
    backend: str | None = None,
    model: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
) -> str:
    """Asks a model, and gives the text of its answer."""
    return call("ask", prompt, context, _given(locals()))


NAMES: dict[object, str] = {ask: "ask"}
"""The functions of the family, with the operations that they are."""


def _given(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in ("prompt", "context") and value is not None}
