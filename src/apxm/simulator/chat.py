"""The bodies of ``/v1/chat/completions``: what a client sends, and what it gets, whole or as a stream of events."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from apxm.backends.protocol import ModelAnswer, ModelRequest
from apxm.backends.simulated import CHARACTERS_PER_TOKEN

# --- what is sent --------------------------------------------------------------------------------------------------

Limit = Annotated[int, Meta(ge=1)] | None
_INSTRUCTING = ("system", "developer")


class Part(Struct):
    type: str = "text"
    text: str | None = None


class Message(Struct):
    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """Pictures and sounds mean nothing to the simulator."""
        content = self.content
        if isinstance(content, list):
            return "".join(part.text for part in content if part.text is not None)
        return content or ""


class StreamOptions(Struct):
    include_usage: bool | None = None


class ChatRequest(Struct):
    """What the simulator reads of a call; it ignores the rest (temperature, tools, …)."""

    messages: list[Message] | None = None
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit = None
    max_completion_tokens: Limit = None
    n: int | None = None

    @property
    def max_output_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def wants_usage(self) -> bool:
        """Whether the stream shall end with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def as_model_request(self) -> ModelRequest:
        """The system text is that of the system messages, the prompt that of all others, a blank line between two.

        So a call draws the same latency here as it does from the simulated backend in process.
        """
        messages = self.messages or []
        system = [message.text for message in messages if message.role in _INSTRUCTING]
        return ModelRequest(
            prompt="\n\n".join([message.text for message in messages if message.role not in _INSTRUCTING]),
            system="\n\n".join(system) if system else None,
            model=self.model,
            max_tokens=self.max_output_tokens,
        )


class BadRequestError(Exception):
    """A body that is no chat call; `param` names the field at fault where it is known."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


_decode = msgspec.json.Decoder(ChatRequest).decode
_FIELD = re.compile(r" - at `\$\.?(.*)`$")


def decode_request(body: bytes) -> ChatRequest:
    """Raises `BadRequestError`."""
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        raise BadRequestError(*explained(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(f"The body could not be read as JSON: {error}") from None
    if not request.messages:
        found = "an empty one" if request.messages == [] else "none"
        raise BadRequestError(
            f"'messages' is required: expected a list of at least one message, found {found}.", "messages"
        )
    if request.n not in (None, 1):
        raise BadRequestError(f"'n' is {request.n}: the simulator gives one choice per call.", "n")
    return request


def explained(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """What is wrong with a body, and the name of the field as OpenAI writes it: ``messages[0].role``."""
    text = str(error)
    place = _FIELD.search(text)
    if place is None:
        return text, None
    return f"'{place[1]}': {text[: place.start()]}.", re.sub(r"\[\.\.\.\]", "", place[1])


# --- what comes back -----------------------------------------------------------------------------------------------

FinishReason = Literal["stop", "length"]


class AnswerUsage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(Struct):
    role: str
    content: str


class Choice(Struct):
    index: int
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class Completion(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: AnswerUsage


class Delta(Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None


class ChunkChoice(Struct):
    index: int
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class Chunk(Struct):
    id: str
    object: str
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]


class ChunkWithUsage(Chunk):
    """With ``include_usage`` every chunk has the field, and only the last one a value."""

    usage: AnswerUsage | None = None


_encode = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"


class Answer:
    """One answer, to be written as a whole or piece by piece."""

    def __init__(self, number: int, created: int, request: ChatRequest, answer: ModelAnswer) -> None:
        self._id = f"chatcmpl-simulated-{number}"
        self._created = created
        self._model = answer.model or ""
        self._text = answer.text
        given, taken = answer.usage.input_tokens or 0, answer.usage.output_tokens or 0
        self.usage = AnswerUsage(given, taken, given + taken)
        limit = request.max_output_tokens
        self._finish_reason: FinishReason = "length" if limit is not None and taken >= limit else "stop"
        self._wants_usage = request.wants_usage

    def pieces(self) -> list[str]:
        """The text, token by token."""
        step = CHARACTERS_PER_TOKEN
        return [self._text[start : start + step] for start in range(0, len(self._text), step)]

    def whole(self) -> bytes:
        choice = Choice(0, AnswerMessage("assistant", self._text), self._finish_reason)
        return _encode(Completion(self._id, "chat.completion", self._created, self._model, (choice,), self.usage))

    def without_choices(self) -> bytes:
        return _encode(Completion(self._id, "chat.completion", self._created, self._model, (), self.usage))

    def events_without_choices(self) -> bytes:
        return _event(Chunk(self._id, "chat.completion.chunk", self._created, self._model, ())) + _DONE

    def events(self) -> bytes:
        """The whole stream in one piece."""
        return self.first_event() + self.event(self._text) + self.last_events()

    def first_event(self) -> bytes:
        return self._chunk(Delta("assistant", ""))

    def event(self, piece: str) -> bytes:
        return self._chunk(Delta(content=piece))

    def last_events(self) -> bytes:
        events = self._chunk(Delta(), self._finish_reason)
        if self._wants_usage:
            usage = ChunkWithUsage(self._id, "chat.completion.chunk", self._created, self._model, (), self.usage)
            events += _event(usage)
        return events + _DONE

    def _chunk(self, delta: Delta, finish_reason: FinishReason | None = None) -> bytes:
        kind = ChunkWithUsage if self._wants_usage else Chunk
        choices = (ChunkChoice(0, delta, finish_reason),)
        return _event(kind(self._id, "chat.completion.chunk", self._created, self._model, choices))


def _event(chunk: Chunk) -> bytes:
    return b"data: %b\n\n" % _encode(chunk)
