"""A chat completion that comes in chunks, put together as if it had come whole."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from apxm.backends.called import CallParts
from apxm.backends.chat import NOT_UTF8, MalformedAnswerError, answer_of
from apxm.backends.choice import THOUGHTS, Choice, ChoiceMessage, UnreadableAnswerError, content_parts
from apxm.backends.content import load_json
from apxm.backends.events import Event, EventReader
from apxm.backends.protocol import ModelAnswer, Tell

_DONE = b"[DONE]"


class _ChunkChoice(Struct):
    delta: ChoiceMessage | None = None
    index: Any = None
    finish_reason: Any = None
    error: Any = None


class _Chunk(Struct):
    choices: list[_ChunkChoice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class ChatStream:
    """One answer as it comes; what it comes to is decided where that of a whole one is."""

    def __init__(self, tell: Tell, *, offered: bool = False) -> None:
        """`offered` says whether there are tools to call."""
        self._tell = tell
        self._offered = offered
        self._calls = CallParts()
        self._events = EventReader()
        self._texts: list[str] = []
        self._refusal = ""
        self._choice = Choice(ChoiceMessage())
        self._begun = False
        self._usage: Any = None
        self._model: Any = None
        self._error: Any = None
        self._flaw: UnreadableAnswerError | None = None
        self.done = False
        """Whether the endpoint said that it is the end."""

    @property
    def failed(self) -> bool:
        """Whether it is no answer, whatever may follow."""
        return bool(self._flaw or self._error)

    def feed(self, piece: bytes) -> None:
        """The next bytes of its body, cut anywhere."""
        try:
            for event in self._events.feed(piece):
                self._take(event)
        except UnreadableAnswerError as flaw:
            self._flaw = flaw

    def answer(self, service_ns: int | None) -> ModelAnswer:
        """What it comes to, as no more bytes come. Raises `UnreadableAnswerError`."""
        if not self.failed:
            for event in self._events.end():
                self._take(event)
        if self._flaw is not None:
            raise self._flaw
        if not (self.done or self._error or self._choice.finish_reason):
            raise UnreadableAnswerError("the stream ended before the answer did")
        reply = self._choice.message
        reply.content = "".join(self._texts) if self._texts else None
        reply.refusal = self._refusal
        if self._offered:
            reply.tool_calls = self._calls.calls
        choices = [self._choice] if self._begun else []
        return answer_of(choices, self._usage, self._model, self._error, service_ns, offered=self._offered)

    def _take(self, event: Event) -> None:
        if event.data.strip() == _DONE:
            self.done = True
            return
        chunk = _read(event.data)
        self._usage = chunk.usage or self._usage
        self._model = self._model or chunk.model
        self._error = self._error or chunk.error or (load_json(event.data) if event.name == b"error" else None)
        for choice in chunk.choices or ():
            if choice.index in (0, None):
                self._begun = True
                self._add(choice)

    def _add(self, choice: _ChunkChoice) -> None:
        whole = self._choice
        whole.finish_reason = choice.finish_reason or whole.finish_reason
        whole.error = choice.error or whole.error
        delta, others = choice.delta or ChoiceMessage(), False
        for called in (delta.tool_calls, delta.function_call):
            if called:
                self._call(called)
                others = True
        for name in (*THOUGHTS, "error"):
            if found := getattr(delta, name):
                setattr(whole.message, name, found)
                others = True
        if isinstance(delta.refusal, str):
            self._refusal += delta.refusal
        for kind, part in content_parts(delta.content):
            if kind in ("text", "output_text"):
                if NOT_UTF8.search(part):
                    raise MalformedAnswerError("the stream is not UTF-8")
                self._texts.append(part)
                if part:
                    self._tell(part)
            elif kind == "refusal":
                self._refusal += part or "it does not say why"
            else:
                whole.message.thinking = others = True
        if others:
            self._tell("")

    def _call(self, parts: object) -> None:
        if not self._offered:
            self._choice.message.tool_calls = parts
            return
        try:
            self._calls.add(parts)
        except ValueError as flaw:
            raise UnreadableAnswerError(f"the stream holds {flaw}") from None


def _read(data: bytes) -> _Chunk:
    """Strictly first, as whole answers are read."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = str(error)
    try:
        return msgspec.convert(load_json(data), _Chunk)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise MalformedAnswerError(f"the stream holds what is no chunk of a chat completion ({why})") from None
