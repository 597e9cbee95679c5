"""What a calibration asks."""

from __future__ import annotations

from collections.abc import Sequence

from apxm.program.expressions import Expression, Literal
from apxm.program.nodes import Operate
from apxm.program.program import Flow, Names, NodeName, Plan, PlanNames, Program


def prompt(number: int) -> str:
    """What the calls of a calibration ask: each something else, so that no answer comes from a cache."""
    return f"Calibration call {number}: say in one sentence what the number {number} makes you think of."


_PATIENCE_S = 3600.0


def asks(prompts: Sequence[str], max_tokens: int | Sequence[int] | None = None, *, streams: bool = False) -> Program:
    """A program that asks all `prompts` at once, each once, and does nothing with the answers; `max_tokens` of all of
    them, or of each. With `streams` they come in parts."""
    limits = max_tokens if isinstance(max_tokens, Sequence) else [max_tokens] * len(prompts)
    nodes = tuple(
        Operate(operation="ask", arguments=(Literal(prompt),), options=_options(limit, streams=streams), result="str")
        for prompt, limit in zip(prompts, limits, strict=True)
    )
    names = tuple(NodeName(path=f"call {i}") for i in range(len(prompts)))
    return Program(
        plans=(Plan(nodes=nodes, inputs=0, outputs=()),),
        flows=(Flow(agent="Calibration", name="calls", parameters=(), result=None, plan=0),),
        entry=0,
        optimization_level=0,
        names=Names(file="calibration", plans=(PlanNames(path="Calibration.calls", nodes=names),)),
    )


def _options(max_tokens: int | None, *, streams: bool) -> dict[str, Expression]:
    given: dict[str, Expression] = {"retries": Literal(0)}
    if max_tokens is not None:
        given["max_tokens"] = Literal(max_tokens)
    if streams:
        given["timeout_first_token"] = Literal(_PATIENCE_S)
    return given
