"""The messages of a conversation: what they say, and the shape that they ask for in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal

from msgspec import Struct

from apxm.backends.protocol import ModelRequest
from apxm.operations.attachments import PDF, Attachment
from apxm.operations.schemas import INSTRUCTION

_ANY_OBJECT = b'{"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}'
_INSTRUCTING = ("system", "developer")
_MOST_TRIED = 50
"""Braces that may begin a schema in the messages."""


_ATTACHED = {"image_url": Attachment("", url="seen"), "file": Attachment("", media_type=PDF)}


class ContentPart(Struct):
    type: Literal["text", "image_url", "input_audio", "file", "refusal", "thinking", "reasoning"] = "text"
    text: str | None = None
    image_url: Any = None


class FunctionName(Struct):
    name: str | None = None


class _PastCall(Struct):
    function: FunctionName | None = None


class Message(Struct):
    role: str
    content: str | list[ContentPart] | None = None
    tool_calls: list[_PastCall] | None = None
    function_call: FunctionName | None = None

    @property
    def text(self) -> str:
        """Images and PDFs count, but they mean nothing to the simulator, and sounds do neither."""
        content = self.content
        if isinstance(content, list):
            return "".join(part.text for part in content if part.text is not None)
        return content or ""

    @property
    def attachments(self) -> list[Attachment]:
        """As many as it has."""
        content = self.content if isinstance(self.content, list) else ()
        return [_ATTACHED[part.type] for part in content if part.type in _ATTACHED]

    @property
    def called(self) -> Sequence[str]:
        calls = [call.function for call in self.tool_calls or ()] + [self.function_call]
        return [call.name or "" for call in calls if call is not None]


def as_model_request(messages: Sequence[Message], model: str | None, max_tokens: int | None) -> ModelRequest:
    """The system text is that of the system messages, the prompt that of all others, a blank line between two.

    So a call draws the same latency here as it does from the simulated backend in process.
    """
    system = [message.text for message in messages if message.role in _INSTRUCTING]
    return ModelRequest(
        prompt="\n\n".join([message.text for message in messages if message.role not in _INSTRUCTING]),
        system="\n\n".join(system) if system else None,
        model=model,
        max_tokens=max_tokens,
        attachments=tuple(chain.from_iterable(message.attachments for message in messages)),
    )


def any_object(asked: ModelRequest) -> bytes:
    """The schema of an answer that may be any object: one that the messages hold, else one of a single text."""
    return _schema_among("\n".join((asked.system_text() or "", asked.prompt))) or _ANY_OBJECT


def told_schema(asked: ModelRequest) -> bytes | None:
    """The schema that A-PXM tells a model of whose endpoint takes none; None where there is none."""
    _, told, behind = (asked.system or "").partition(INSTRUCTION)
    return _schema_among(behind) if told else None


def _schema_among(text: str) -> bytes | None:
    """The first JSON object in `text` that describes an object's properties and that a value can be made for."""
    from apxm.backends.examples import example
    from apxm.backends.schemas import SchemaError, read_schema

    decode = json.JSONDecoder().raw_decode
    at = -1
    for _ in range(_MOST_TRIED):
        at = text.find("{", at + 1)
        if at < 0:
            break
        try:
            found, end = decode(text, at)
            if "properties" in found:
                schema = text[at:end].encode()
                example(read_schema(schema), 0)
                return schema
        except (ValueError, RecursionError, SchemaError):  # another brace, or something else in braces
            continue
    return None
