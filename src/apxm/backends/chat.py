"""The body of a chat call and of its answer, as OpenAI-compatible endpoints write them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from time import time
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from apxm.backends.protocol import ModelAnswer, ModelRequest, Usage
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError

# --- what is sent --------------------------------------------------------------------------------------------------


class Message(Struct, frozen=True):
    role: str
    content: str


class ChatCall(Struct, frozen=True, omit_defaults=True):
    model: str
    messages: tuple[Message, ...]
    temperature: float | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    max_completion_tokens: int | UnsetType = UNSET
    reasoning_effort: str | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode


def encode_call(request: ModelRequest, settings: OpenAISettings) -> bytes:
    """The body of one call. Raises `BackendError` for text that no encoding of Unicode can carry."""
    system = request.system_text(settings.system)
    messages = (Message("user", request.prompt),)
    if system:
        messages = (Message("system", system), *messages)
    temperature = request.temperature if request.temperature is not None else settings.temperature
    limit = request.max_tokens if request.max_tokens is not None else settings.max_tokens
    older = settings.max_tokens_field == "max_tokens"
    call = ChatCall(
        model=request.model or settings.model,
        messages=messages,
        temperature=UNSET if temperature is None else temperature,
        max_tokens=limit if limit is not None and older else UNSET,
        max_completion_tokens=limit if limit is not None and not older else UNSET,
        reasoning_effort=effort(request.reasoning_budget) if request.reasoning else UNSET,
    )
    try:
        if not settings.body:
            return _encode(call)
        return _encode({**settings.body, **cast(dict[str, object], msgspec.to_builtins(call))})
    except UnicodeEncodeError:
        raise BackendError(
            "unsendable", "the prompt or the system text holds half of a surrogate pair", retryable=False
        ) from None


def effort(budget: int | None) -> str:
    """``reasoning_effort`` for a budget of tokens: low up to 1,024, medium up to 8,192 (and where none is given), else
    high."""
    if budget is None:
        return "medium"
    return "low" if budget <= 1024 else "medium" if budget <= 8192 else "high"


# --- what comes back -----------------------------------------------------------------------------------------------


class _Part(Struct):
    type: str = "text"
    text: str | None = None


class _Reply(Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: Any = None


class _Choice(Struct):
    message: _Reply
    finish_reason: Any = None


class _Completion(Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Completion).decode


class UnreadableAnswerError(Exception):
    """An answer with status 200 that is not one. `kind` is the `BackendError`'s; `malformed` where it is not even the
    JSON of one."""

    def __init__(self, why: str, kind: str = "unreadable_answer", *, malformed: bool = False) -> None:
        super().__init__(why)
        self.kind = kind
        self.malformed = malformed


def decode_answer(body: bytes | bytearray, service_ns: int | None) -> ModelAnswer:
    """Raises `UnreadableAnswerError`; its text may quote the endpoint."""
    try:
        completion = _decode(body)
    except UnicodeDecodeError:
        raise UnreadableAnswerError("the answer is not UTF-8", malformed=True) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableAnswerError(f"the answer is not a chat completion in JSON ({error})", malformed=True) from None
    if not completion.choices:
        said = error_message(completion.error)
        raise UnreadableAnswerError(f"the answer holds no choices{f' but an error: {said}' if said else ''}")
    choice = completion.choices[0]
    reply = choice.message
    text = reply.content
    if isinstance(text, list):
        text = "".join(part.text for part in text if part.type in ("text", "output_text") and part.text is not None)
    if text is None or (not text and (reply.refusal or reply.tool_calls)):
        raise _no_text(reply, choice.finish_reason)
    model = completion.model if isinstance(completion.model, str) else None
    usage = Usage(_count(completion.usage, "prompt_tokens"), _count(completion.usage, "completion_tokens"))
    return ModelAnswer(text=text, usage=usage, service_ns=service_ns, model=model)


def _no_text(reply: _Reply, finish_reason: object) -> UnreadableAnswerError:
    if reply.refusal:
        return UnreadableAnswerError(f"the model refused: {reply.refusal}", "refused")
    if finish_reason == "content_filter":
        return UnreadableAnswerError("the endpoint's content filter removed the answer", "refused")
    if reply.tool_calls:
        return UnreadableAnswerError("the model called a tool, and none was offered")
    if finish_reason == "length":
        return UnreadableAnswerError("the answer holds no text: its limit of tokens was used up before any came")
    return UnreadableAnswerError("the answer holds no text (its content is null)")


def _count(usage: object, name: str) -> int | None:
    value = cast(dict[str, object], usage).get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def error_message(error: object) -> str:
    """The text in what an endpoint calls its error: ``{"error": {"message": …}}`` and the variants in use."""
    for _ in range(4):
        if not isinstance(error, dict):
            break
        fields = cast(dict[str, object], error)
        error = next((fields[name] for name in ("error", "message", "detail") if fields.get(name)), None)
    return error if isinstance(error, str) else ""


def error_text(body: bytes | bytearray) -> str:
    """What the body of a failed call says, as plain text."""
    try:
        said = error_message(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = ""
    return said or bytes(body).decode(errors="replace")


_TOTAL = re.compile(r"\s*total\s*(?:;|$)", re.IGNORECASE)
_DURATION = re.compile(r""";\s*dur\s*=\s*"?([^;"\s]+)""", re.IGNORECASE)


def service_time(server_timing: Iterable[str], processing_ms: str | None) -> int | None:
    """Nanoseconds that the endpoint says it worked, at least 0.

    It is the entry ``total`` of ``Server-Timing`` (proxies add entries of other names about themselves), else
    ``openai-processing-ms``.
    """
    for header in server_timing:
        for entry in header.split(","):
            if _TOTAL.match(entry) and (duration := _DURATION.search(entry)):
                return _nanoseconds(duration[1])
    return _nanoseconds(processing_ms) if processing_ms is not None else None


def _nanoseconds(milliseconds: str) -> int | None:
    try:
        value = float(milliseconds)
    except ValueError:
        return None
    return max(0, round(value * 1_000_000)) if math.isfinite(value) else None


def retry_after(milliseconds: str | None, header: str | None, now: Callable[[], float] = time) -> float | None:
    """Seconds for which the endpoint asks to be left alone: OpenAI's ``retry-after-ms``, else ``Retry-After``, seconds
    or a date (RFC 9110, 10.2.3). None where it says nothing, or nothing that can be read."""
    for text, scale in ((milliseconds, 1e-3), (header, 1.0)):
        try:
            seconds = float(text or "") * scale
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    from email.utils import parsedate_to_datetime  # 20 ms, for something rare

    try:
        return max(0.0, parsedate_to_datetime(header or "").timestamp() - now())
    except (ValueError, OverflowError):
        return None
