"""What a simulated model puts out, whatever page it was asked on: words, a value of a shape, or calls of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from apxm.backends.completion import TokenCounts
from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.simulated import CHARACTERS_PER_TOKEN, count_tokens, tokens_of
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


class Shape(Struct, frozen=True):
    """What a choice has to be where it is not free: a text that is JSON, or calls, each a name and its arguments."""

    text: str | None = None
    calls: tuple[tuple[str, str], ...] = ()


class Sampling(Struct, frozen=True):
    """What of a request decides over its outputs, but for the prompt."""

    choices: int = 1
    stop: Sequence[str] = ()
    max_tokens: int | None = None
    shapes: Sequence[Shape] = ()
    """One for each choice; none where these are free."""


def shapes(
    asked: ModelRequest, choices: int, called: Sequence[Offer], schema: bytes | None, place: str
) -> tuple[Shape, ...]:
    """The shapes of all choices: calls of `called`, else a value of `schema`, which stands at `place`, else none.

    Raises `BadRequestError` for a schema that no value is made for.
    """
    if called:
        return tuple(
            Shape(calls=tuple((f.name, _arguments(f, asked, f"{choice} {f.name}", where)) for f, where in called))
            for choice in range(choices)
        )
    if schema is not None:
        return tuple(Shape(_written(_value(schema, asked, str(choice), place))) for choice in range(choices))
    return ()


def _arguments(function: Function, asked: ModelRequest, purpose: str, place: str) -> str:
    schema = bytes(function.parameters)
    if schema in (b"", b"null", b"{}"):
        return "{}"
    value = _value(schema, asked, purpose, place)
    if not isinstance(value, dict):
        raise BadRequestError(f"'{place}': what fits it is no object, and arguments have to be one.", place)
    return _written(cast(object, value))


def _value(schema: bytes, asked: ModelRequest, purpose: str, place: str) -> Any:
    """One of `schema` that follows from what is asked."""
    from apxm.simulator.examples import example
    from apxm.simulator.schemas import SchemaError, read_schema

    digest = blake2b(schema, digest_size=8)
    for part in (asked.system_text() or "", asked.prompt, purpose):
        digest.update(b"\0" + part.encode(errors="surrogatepass"))
    try:
        return example(read_schema(schema), int.from_bytes(digest.digest()))
    except SchemaError as refused:
        raise BadRequestError(f"'{place}': {refused}.", place) from None


def _written(value: object) -> str:
    return msgspec.json.encode(value).decode()


def outputs(asked: ModelRequest, sampling: Sampling, said: ModelAnswer, say: Say, number: int) -> tuple[Candidate, ...]:
    """`said` is what the backend answers as the first choice; `number` is that of the call."""
    if sampling.shapes:
        return tuple(
            _shaped(shape, sampling, f"call_simulated_{number}_{choice}_")
            for choice, shape in enumerate(sampling.shapes)
        )
    first = _worded(said, sampling)
    if sampling.choices == 1:
        return (first,)
    return (first, *(_worded(say(asked, choice), sampling) for choice in range(1, sampling.choices)))


def _worded(said: ModelAnswer, sampling: Sampling) -> Candidate:
    limit = sampling.max_tokens
    reached = limit is not None and (said.usage.output_tokens or 0) >= limit
    otherwise: FinishReason = "length" if reached else "stop"
    return _stopped(said.text, sampling, otherwise) if sampling.stop else Candidate(said.text, (), otherwise)


def _stopped(text: str, sampling: Sampling, otherwise: FinishReason) -> Candidate:
    ends = [at for stop in sampling.stop if (at := text.find(stop)) >= 0]
    return Candidate(text[: min(ends)], (), "stop") if ends else Candidate(text, (), otherwise)


def _shaped(shape: Shape, sampling: Sampling, call_id: str) -> Candidate:
    """What goes beyond the limit is cut off, be it in the middle of a value, as a model that reaches it does."""
    room = sampling.max_tokens * CHARACTERS_PER_TOKEN if sampling.max_tokens is not None else None
    if shape.text is not None:
        whole = room is None or len(shape.text) <= room
        return _stopped(shape.text[:room], sampling, "stop" if whole else "length")
    calls: list[ToolCall] = []
    for name, arguments in shape.calls:
        if room is not None and room <= 0:
            return Candidate("", tuple(calls), "length")
        calls.append(ToolCall(f"{call_id}{len(calls)}", name, arguments[:room]))
        if room is not None and len(arguments) > room:
            return Candidate("", tuple(calls), "length")
        if room is not None:
            room -= count_tokens(arguments) * CHARACTERS_PER_TOKEN
    return Candidate("", tuple(calls), "tool_calls")


def usage_of(prompt_tokens: int | None, outputs: Sequence[Candidate]) -> TokenCounts:
    given, taken = prompt_tokens or 0, sum([output.tokens for output in outputs])
    return TokenCounts(given, taken, given + taken)


def pieces(text: str, *, by_token: bool = True) -> list[str]:
    """The text, token by token or at once."""
    return tokens_of(text) if by_token else [text]
