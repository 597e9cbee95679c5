"""`ask` and its family: the model calls of ordinary code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, Unpack, overload
from typing import Literal as OneOf

import msgspec

from apxm.flows.calling import Options, asks, call
from apxm.flows.dialogue import converse, refuse_tools
from apxm.operations.catalog import MOST_ROUNDS

T = TypeVar("T")


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


Offered = Callable[..., Any] | str
"""A tool that a model may call: a function, or the name of a configured one."""


@overload
def ask(
    prompt: object,
    /,
    *context: object,
    schema: type[T],
    tools: Sequence[Offered] = ...,
    max_rounds: int = ...,
    **options: Unpack[Options],
) -> T: ...
@overload
def ask(
    prompt: object,
    /,
    *context: object,
    choices: Sequence[str] = ...,
    tools: Sequence[Offered] = ...,
    max_rounds: int = ...,
    **options: Unpack[Options],
) -> str: ...
@asks("ask")
def ask(
    prompt: object,
    /,
    *context: object,
    schema: Any = None,
    choices: Sequence[str] | None = None,
    tools: Sequence[Offered] = (),
    max_rounds: int = MOST_ROUNDS,
    **options: Unpack[Options],
) -> Any:
    """Asks a model, and gives the text of its answer, an object of the class `schema`, or one of `choices`.

    `prompt` and `context` are text, or anything that has a form as JSON; among the context there may be `image(…)` and
    `file(…)`. The model may call `tools` before it answers, in at most `max_rounds` rounds. Outside of a flow it is a
    run of its own. Raises `OperationError`, and what the tools raise.
    """
    told: dict[str, Any] = {**options}
    if schema is not None:
        told["schema"] = schema
    if choices is not None:
        told["choices"] = choices
    if tools or max_rounds != MOST_ROUNDS:
        refuse_tools(tools, max_rounds)
    if tools:
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - who asks
        return converse(prompt, context, told, tools, max_rounds, frame)
    return call("ask", prompt, context, told)


@asks("think")
def think(prompt: object, /, *context: object, budget: int | None = None, **options: Unpack[Options]) -> str:
    """As `ask`, with room to think before the answer: at most `budget` tokens."""
    return call("think", prompt, context, {**options, "budget": budget})


@asks("reason")
def reason(prompt: object, /, *context: object, budget: int | None = None, **options: Unpack[Options]) -> str:
    """As `ask`, for an answer that works step by step from the context and ends with its conclusion."""
    return call("reason", prompt, context, {**options, "budget": budget})


@asks("reflect")
def reflect(value: object, /, *context: object, **options: Unpack[Options]) -> str:
    """A critique of a value."""
    return call("reflect", value, context, {**options})


@asks()
def plan(goal: object, /, *context: object, **options: Unpack[Options]) -> Plan:
    """The steps to a goal, and for each step those that it needs."""
    return msgspec.convert(call("plan", goal, context, {**options}), Plan)


@asks()
def verify(claim: object, /, *evidence: object, **options: Unpack[Options]) -> Verdict:
    """A verdict on a claim."""
    return msgspec.convert(call("verify", claim, evidence, {**options}), Verdict)
