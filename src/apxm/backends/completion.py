"""A completion as OpenAI writes it: what the simulator sends, and what a simulated fault in process is measured by.

It is not what answers are read with (`chat.py`, `choice.py`): endpoints write many other things, and whoever reads them
believes none of these types.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType


class PromptTokens(Struct):
    cached_tokens: int


class TokenCounts(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens | UnsetType = UNSET


class CalledFunction(Struct, omit_defaults=True):
    name: str | None = None
    arguments: str | None = None


class CalledTool(Struct):
    id: str
    function: CalledFunction
    type: str = "function"


class ChatMessage(Struct):
    role: str
    content: str | Sequence[object] | None
    """A text, or texts and images."""
    tool_calls: Sequence[CalledTool] | UnsetType = UNSET
    function_call: CalledFunction | UnsetType = UNSET
    refusal: str | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    """The call that this is the result of."""


class ChatChoice(Struct):
    index: int
    message: ChatMessage
    finish_reason: str
    logprobs: Struct | None = None


class Completion(Struct):
    """A whole one, or a chunk of one that is streamed; each page of an endpoint has choices of its own."""

    id: str
    object: str
    created: int
    model: str
    choices: Sequence[Struct]
    usage: TokenCounts | UnsetType | None = UNSET
    """Where a stream is to end with the usage, all its chunks have the field, and only the last one a value."""
