"""The body of a chat call and of its answer, as OpenAI-compatible endpoints write them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from apxm.backends.choice import Choice, ChoiceMessage, UnreadableAnswerError, text_of
from apxm.backends.completion import CalledFunction, CalledTool, ChatMessage
from apxm.backends.content import load_json
from apxm.backends.dialogue import OfferedTool, Round
from apxm.backends.error_report import read_error
from apxm.backends.protocol import MOST_TOKENS, ModelAnswer, ModelRequest, Usage, plausible
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError
from apxm.operations.schemas import AnswerFormat

# --- what is sent --------------------------------------------------------------------------------------------------


class JsonSchema(Struct, frozen=True):
    name: str
    schema: Any
    strict: bool


class ResponseFormat(Struct, frozen=True, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


class Function(Struct, frozen=True, omit_defaults=True):
    name: str
    parameters: msgspec.Raw
    description: str = ""


class FunctionTool(Struct, frozen=True, tag_field="type", tag="function"):
    function: Function


class ChatBody(Struct, frozen=True, omit_defaults=True):
    model: str
    messages: tuple[ChatMessage, ...]
    temperature: float | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    max_completion_tokens: int | UnsetType = UNSET
    reasoning_effort: str | UnsetType = UNSET
    response_format: ResponseFormat | UnsetType = UNSET
    tools: tuple[FunctionTool, ...] | UnsetType = UNSET
    tool_choice: str | UnsetType = UNSET
    stream: bool = False
    stream_options: dict[str, bool] | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_call(
    request: ModelRequest,
    settings: OpenAISettings,
    *,
    takes_schema: bool = True,
    stream: bool = False,
    stream_options: bool = False,
) -> bytes:
    """The body of one call, to an endpoint that takes JSON schemas or does not; a `stream` is to end with its usage
    where there are `stream_options`.

    Raises `BackendError` for text that no encoding of Unicode can carry."""
    wanted = request.answer if takes_schema and not request.offers else None
    system = request.system_text(settings.system, tells_format=wanted is None)
    messages = (ChatMessage("user", _content(request) if request.attachments else request.prompt),)
    if system:
        messages = (ChatMessage("system", system), *messages)
    if request.rounds:
        messages = (*messages, *(message for past in request.rounds for message in _messages_of(past)))
    temperature = request.temperature if request.temperature is not None else settings.temperature
    limit = request.max_tokens if request.max_tokens is not None else settings.max_tokens
    older = settings.max_tokens_field == "max_tokens"
    call = ChatBody(
        model=request.model or settings.model,
        messages=messages,
        temperature=UNSET if temperature is None else temperature,
        max_tokens=limit if limit is not None and older else UNSET,
        max_completion_tokens=limit if limit is not None and not older else UNSET,
        reasoning_effort=effort(request.reasoning_budget) if request.reasoning else UNSET,
        response_format=UNSET if wanted is None else _response_format(wanted),
        tools=tuple(map(_tool, request.tools)) if request.tools else UNSET,
        tool_choice="none" if request.tools and not request.may_call else UNSET,
        stream=stream,
        stream_options={"include_usage": True} if stream_options else UNSET,
    )
    try:
        body = _encode(call)
        return body if not settings.body else _encode({**settings.body, **_decode_fields(body)})
    except UnicodeEncodeError:
        raise BackendError(
            "unsendable",
            "the prompt, the system text or what a tool gave holds half of a surrogate pair",
            retryable=False,
        ) from None


def _content(request: ModelRequest) -> str | list[dict[str, object]]:
    """The user's message, its images and PDFs where the prompt has them."""
    parts: list[dict[str, object]] = []
    done = 0
    for held in request.attachments:
        if held.is_image:
            part: dict[str, object] = {"type": "image_url", "image_url": {"url": held.source}}
        elif held.is_pdf:
            part = {"type": "file", "file": {"filename": held.name or "file.pdf", "file_data": held.source}}
        else:
            continue  # its text is part of the prompt
        parts.append({"type": "text", "text": request.prompt[done : held.at]})
        parts.append(part)
        done = held.at
    rest: dict[str, object] = {"type": "text", "text": request.prompt[done:]}
    return [*parts, rest] if parts and done < len(request.prompt) else parts or request.prompt


def _messages_of(past: Round) -> Iterator[ChatMessage]:
    calls = [CalledTool(call.id, CalledFunction(call.tool, call.arguments)) for call in past.calls]
    yield ChatMessage("assistant", past.text or None, calls)
    for call, result in zip(past.calls, past.results, strict=True):
        yield ChatMessage("tool", result, tool_call_id=call.id)


def _tool(offered: OfferedTool) -> FunctionTool:
    return FunctionTool(Function(offered.name, msgspec.Raw(offered.schema.encode()), offered.description))


def _response_format(wanted: AnswerFormat) -> ResponseFormat:
    return ResponseFormat(JsonSchema(wanted.name, msgspec.json.decode(wanted.schema), wanted.strict))


def effort(budget: int | None) -> str:
    """``reasoning_effort`` for a budget of tokens: low up to 1,024, medium up to 8,192 (and where none is given), else
    high."""
    if budget is None:
        return "medium"
    return "low" if budget <= 1024 else "medium" if budget <= 8192 else "high"


# --- what comes back -----------------------------------------------------------------------------------------------


class _Completion(Struct):
    choices: list[Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Completion).decode


NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What `load_json` makes of bytes that are no text."""


class NoCompletionError(UnreadableAnswerError):
    """There is not even a choice."""


class MalformedAnswerError(NoCompletionError):
    """An answer is not the JSON of a completion."""


def decode_answer(body: bytes | bytearray, service_ns: int | None, *, offered: bool = False) -> ModelAnswer:
    """The answer to a call that offered tools, or none. Raises `UnreadableAnswerError`; its text may quote the
    endpoint."""
    found = _read(body)
    return answer_of(found.choices, found.usage, found.model, found.error, service_ns, offered=offered)


def answer_of(
    choices: Sequence[Choice] | None,
    usage: object,
    model: object,
    error: object,
    service_ns: int | None,
    *,
    offered: bool,
) -> ModelAnswer:
    """What the parts of a completion come to. Raises `UnreadableAnswerError`."""
    if not choices:
        said = read_error(error)
        words = f" but an error: {said.words}" if said.words else ""
        raise NoCompletionError(f"the answer holds no choices{words}", retryable=not said.out_of_money)
    text, cut_off, calls = text_of(choices[0], error, offered=offered)
    counts = _fields(usage)
    given = plausible(counts.get("prompt_tokens"), MOST_TOKENS)
    taken = plausible(counts.get("completion_tokens"), MOST_TOKENS)
    cached = plausible(_fields(counts.get("prompt_tokens_details")).get("cached_tokens"), MOST_TOKENS)
    said = model if isinstance(model, str) else None
    return ModelAnswer(text, Usage(given, taken, cached), service_ns, said, cut_off, calls)


def _read(body: bytes | bytearray) -> _Completion:
    """Strictly first: that builds what is needed and no more. What it refuses, for a number or a field that nobody
    needs, is read again."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = str(error)
    try:
        return _built(load_json(body))
    except UnicodeError:
        raise MalformedAnswerError("the answer is not UTF-8") from None
    except (ValueError, RecursionError):
        raise MalformedAnswerError(f"the answer is not a chat completion in JSON ({why})") from None


def _built(found: object) -> _Completion:
    """Raises `ValueError` for what is no completion."""
    fields = _fields(found)
    choices = fields.get("choices")
    if not isinstance(found, dict) or not isinstance(choices, list | None):
        raise ValueError
    built: list[Choice] = []
    for choice in map(_fields, cast(list[object], choices or [])):
        message = _fields(choice.get("message"))
        if NOT_UTF8.search(json.dumps(message.get("content"), ensure_ascii=False)):
            raise UnicodeError
        reply = ChoiceMessage(**{name: message.get(name) for name in ChoiceMessage.__struct_fields__})
        built.append(Choice(reply, choice.get("finish_reason"), choice.get("error")))
    return _Completion(built, fields.get("usage"), fields.get("model"), fields.get("error"))


def _fields(found: object) -> dict[str, Any]:
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}
