"""`ask` and its family: a model call that ordinary code makes, and waits for in its lane."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import FrameType
from typing import Any, TypedDict, TypeVar, Unpack, cast, overload
from typing import Literal as OneOf

import msgspec

from apxm.errors import UsageError
from apxm.lanes.classes import Structure, structure
from apxm.lanes.lane import LANE
from apxm.lanes.places import site_of
from apxm.lanes.run import RUN, Asked
from apxm.operations.catalog import OPERATIONS
from apxm.operations.plain import plain
from apxm.operations.types import JSON, Value
from apxm.program.expressions import Expression, Literal, Operand
from apxm.program.nodes import Operate
from apxm.runtime.handlers.model import ModelCall

T = TypeVar("T")


class PythonCall(ModelCall):
    """A model call of Python code: the options of its call site, for whatever it is given."""

    __slots__ = ("made",)

    def __init__(self, name: str, context: int, options: Sequence[tuple[str, Any]], wanted: Structure | None) -> None:
        operands = tuple(range(1 + context))
        given = {option: Literal(_unfrozen(value)) for option, value in options}
        node = Operate(
            operation=name,
            operands=operands,
            arguments=tuple(map(Operand, operands)),
            options=dict[str, Expression](given),
            result=str(OPERATIONS[name].result),
        )
        super().__init__(OPERATIONS[name], node)
        self.made: Callable[[Value], Any] | None = None
        """Makes an object of the answer's value; None where that is the answer."""
        if wanted is not None:
            self._answer, self.read, self.made = wanted


@lru_cache(maxsize=1024)
def _operation(name: str, context: int, options: tuple[tuple[str, Any], ...], wanted: Any) -> PythonCall:
    """The operation of all calls with these options and so many values of context. Raises `UsageError`."""
    return PythonCall(name, context, options, None if wanted is None else structure(wanted))


class Options(TypedDict, total=False):
    """What a call of a model can be told; `apxm ops` explains each."""

    system: str
    backend: str
    model: str
    temperature: float
    max_tokens: int
    timeout: float
    timeout_first_token: float
    retries: int


class PlanStep(msgspec.Struct):
    """One step of a plan."""

    text: str
    after: list[int]
    """The numbers, from 1, of the steps that must be done before it."""


class Plan(msgspec.Struct):
    """The steps to a goal, in an order in which they can be done."""

    steps: list[PlanStep]


class Verdict(msgspec.Struct):
    """What `verify` found."""

    reason: str
    label: OneOf["confirmed", "refuted", "insufficient"]
    confidence: float
    """From 0 to 1."""


def begin(name: str, prompt: object, context: Sequence[object], options: dict[str, Any], frame: FrameType) -> Asked:
    """Makes a call from the lane that `frame` runs in, and does not wait for it."""
    lane = LANE.get()
    if lane is None:
        raise UsageError(f"`{name}` is called outside of a flow", hint="call it in a function under @apxm.flow")
    wanted = options.pop("schema", None)
    given = tuple(sorted((option, _frozen(value)) for option, value in options.items() if value is not None))
    operation = _operation(name, len(context), given, None if wanted is str else wanted)
    values = [_value(value, name) for value in (prompt, *context)]
    asked = RUN.get().ask(lane, operation, values, name, site_of(lane, frame))
    asked.made = operation.made
    return asked


def _value(value: object, name: str) -> Value:
    """What a call is given, as a backend can be told it."""
    return value if type(value) is str else plain(value, JSON, f"what `{name}` is given")


def _frozen(value: Any) -> Any:
    return tuple(cast(list[Any], value)) if isinstance(value, list) else value


def _unfrozen(value: Any) -> Any:
    return list(cast(tuple[Any, ...], value)) if isinstance(value, tuple) else value


def call(name: str, prompt: object, context: Sequence[object], options: dict[str, Any]) -> Any:
    asked = begin(name, prompt, context, options, sys._getframe(2))  # pyright: ignore[reportPrivateUsage] - who asks
    return answer(asked)


def answer(asked: Asked) -> Any:
    """Waits for the answer of a call, and gives it as the code wants it."""
    value = RUN.get().answer(asked)
    return value if asked.made is None else asked.made(value)


@overload
def ask(prompt: object, /, *context: object, schema: type[T], **options: Unpack[Options]) -> T: ...
@overload
def ask(prompt: object, /, *context: object, choices: Sequence[str] = ..., **options: Unpack[Options]) -> str: ...
def ask(
    prompt: object,
    /,
    *context: object,
    schema: Any = None,
    choices: Sequence[str] | None = None,
    **options: Unpack[Options],
) -> Any:
    """Asks a model, and gives the text of its answer, an object of the class `schema`, or one of `choices`.

    `prompt` and `context` are text, or anything that has a form as JSON. Raises `OperationError`.
    """
    return call("ask", prompt, context, {**options, "schema": schema, "choices": choices})


def think(prompt: object, /, *context: object, budget: int | None = None, **options: Unpack[Options]) -> str:
    """As `ask`, with room to think before the answer: at most `budget` tokens."""
    return call("think", prompt, context, {**options, "budget": budget})


def reason(prompt: object, /, *context: object, budget: int | None = None, **options: Unpack[Options]) -> str:
    """As `ask`, for an answer that works step by step from the context and ends with its conclusion."""
    return call("reason", prompt, context, {**options, "budget": budget})


def reflect(value: object, /, *context: object, **options: Unpack[Options]) -> str:
    """A critique of a value."""
    return call("reflect", value, context, {**options})


def plan(goal: object, /, *context: object, **options: Unpack[Options]) -> Plan:
    """The steps to a goal, and for each step those that it needs."""
    return msgspec.convert(call("plan", goal, context, {**options}), Plan)


def verify(claim: object, /, *evidence: object, **options: Unpack[Options]) -> Verdict:
    """A verdict on a claim."""
    return msgspec.convert(call("verify", claim, evidence, {**options}), Verdict)


NAMES: dict[object, str] = {
    ask: "ask", think: "think", reason: "reason", reflect: "reflect",
}  # fmt: skip
"""The functions whose calls may overlap in a straight line, with the operations that they are."""
ALL = (ask, think, reason, reflect, plan, verify)
