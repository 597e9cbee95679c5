"""What a simulated model puts out, whatever page it was asked on: words, a value of a shape, or calls of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from apxm.backends.completion import PromptTokens, TokenCounts
from apxm.backends.protocol import ModelAnswer, ModelRequest, Usage
from apxm.backends.shapes import drawn
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, count_tokens, tokens_of
from apxm.operations.schemas import AnswerFormat
from apxm.simulator.bodies import BadRequestError
from apxm.simulator.tools import Function, Offer

FinishReason = Literal["stop", "length", "tool_calls", "function_call"]
Say = Callable[[ModelRequest, int], ModelAnswer]
"""What the backend answers to a request as its second, third, … choice, counted from 0."""


class ToolCall(Struct, frozen=True):
    id: str
    name: str
    arguments: str


class Candidate(Struct, frozen=True):
    """One choice."""

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: FinishReason

    @property
    def tokens(self) -> int:
        said = count_tokens(self.text)
        return said + sum(count_tokens(call.arguments) for call in self.calls) if self.calls else said


Calls = tuple[tuple[str, str], ...]
"""Calls of functions, each a name and its arguments."""


class Sampling(Struct, frozen=True):
    """What of a request decides over its outputs, but for the prompt."""

    choices: int = 1
    stop: Sequence[str] = ()
    max_tokens: int | None = None
    calls: Sequence[Calls] = ()
    """The calls of each choice; none where these are words."""


def calls_of(called: Sequence[Offer], asked: ModelRequest, choices: int) -> tuple[Calls, ...]:
    """The calls of all choices, none where `called` is empty. Raises `BadRequestError` for parameters that no value is
    made for."""
    if not called:
        return ()
    return tuple(
        tuple((f.name, _arguments(f, asked, f"{choice} {f.name}", where)) for f, where in called)
        for choice in range(choices)
    )


def with_format(asked: ModelRequest, schema: bytes | None, place: str) -> ModelRequest:
    """The request for an answer of `schema`, which stands at `place` in a body. Raises `BadRequestError` for one that
    no value is made for."""
    if schema is None:
        return asked
    _value(schema, asked, "", place)
    return replace(asked, answer=AnswerFormat("answer", schema.decode()))


def _arguments(function: Function, asked: ModelRequest, purpose: str, place: str) -> str:
    schema = bytes(function.parameters)
    if schema in (b"", b"null", b"{}"):
        return "{}"
    value = _value(schema, asked, purpose, place)
    if not isinstance(value, dict):
        raise BadRequestError(f"'{place}': what fits it is no object, and arguments have to be one.", place)
    return msgspec.json.encode(cast(object, value)).decode()


def _value(schema: bytes, asked: ModelRequest, purpose: str, place: str) -> Any:
    """One of `schema` that follows from what is asked."""
    from apxm.backends.schemas import SchemaError

    try:
        return drawn(schema, asked.system_text() or "", asked.prompt, purpose)
    except SchemaError as refused:
        raise BadRequestError(f"'{place}': {refused}.", place) from None


def outputs(asked: ModelRequest, sampling: Sampling, said: ModelAnswer, say: Say, number: int) -> tuple[Candidate, ...]:
    """`said` is what the backend answers as the first choice; `number` is that of the call."""
    if sampling.calls:
        return tuple(
            _called(calls, sampling, f"call_simulated_{number}_{choice}_")
            for choice, calls in enumerate(sampling.calls)
        )
    shaped = asked.answer is not None
    first = _worded(said, sampling, shaped=shaped)
    if sampling.choices == 1:
        return (first,)
    others = (_worded(say(asked, choice), sampling, shaped=shaped) for choice in range(1, sampling.choices))
    return (first, *others)


def _worded(said: ModelAnswer, sampling: Sampling, *, shaped: bool) -> Candidate:
    """A limit that is just enough ends words; a shape it leaves whole."""
    limit = sampling.max_tokens
    reached = said.cut_off or (limit is not None and not shaped and (said.usage.output_tokens or 0) >= limit)
    otherwise: FinishReason = "length" if reached else "stop"
    return _stopped(said.text, sampling, otherwise) if sampling.stop else Candidate(said.text, (), otherwise)


def _stopped(text: str, sampling: Sampling, otherwise: FinishReason) -> Candidate:
    ends = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
    return Candidate(text[: min(ends)], (), "stop") if ends else Candidate(text, (), otherwise)


def _called(called: Calls, sampling: Sampling, call_id: str) -> Candidate:
    """What goes beyond the limit is cut off, be it in the middle of a value, as a model that reaches it does."""
    room = sampling.max_tokens * CHARACTERS_PER_TOKEN if sampling.max_tokens is not None else None
    calls: list[ToolCall] = []
    for name, arguments in called:
        if room is not None and room <= 0:
            return Candidate("", tuple(calls), "length")
        calls.append(ToolCall(f"{call_id}{len(calls)}", name, arguments[:room]))
        if room is not None and len(arguments) > room:
            return Candidate("", tuple(calls), "length")
        if room is not None:
            room -= count_tokens(arguments) * CHARACTERS_PER_TOKEN
    return Candidate("", tuple(calls), "tool_calls")


def usage_of(said: Usage, outputs: Sequence[Candidate]) -> TokenCounts:
    given, taken = said.input_tokens or 0, sum([output.tokens for output in outputs])
    counts = TokenCounts(given, taken, given + taken)
    if said.cached_tokens is not None:
        counts.prompt_tokens_details = PromptTokens(said.cached_tokens)
    return counts


def pieces(text: str, *, by_token: bool = True) -> list[str]:
    """The text, token by token or at once."""
    return tokens_of(text) if by_token else [text]
