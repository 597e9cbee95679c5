"""What one choice of a chat completion comes to: its text, or why there is none.

The only place that decides it, from the finish reason, the text, a refusal, calls of tools and errors together: an
endpoint may say in any of them that what looks like an answer is not one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from msgspec import Struct

from apxm.backends.called import read_calls
from apxm.backends.dialogue import RequestedCall
from apxm.backends.error_report import NOTHING, read_error
from apxm.source import as_utf8


class ChoiceMessage(Struct):
    """The message of a choice. Nothing is believed of its fields before it is looked at: what they hold where they are
    not needed shall cost nobody an answer."""

    content: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    thinking: Any = None
    error: Any = None


THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
"""The fields of a message in which endpoints give what the model thought."""


class Choice(Struct):
    message: ChoiceMessage
    finish_reason: Any = None
    error: Any = None


class UnreadableAnswerError(Exception):
    """What came with a status of success, and is no answer. `kind` and `retryable` are the `BackendError`'s."""

    def __init__(
        self, why: str, kind: str = "unreadable_answer", *, retryable: bool = True, hint: str | None = None
    ) -> None:
        super().__init__(why)
        self.kind = kind
        self.retryable = retryable
        self.hint = hint


class ChoiceText(NamedTuple):
    text: str
    cut_off: bool
    """Whether a limit of tokens ended it."""
    calls: tuple[RequestedCall, ...] = ()
    """The tools that the model calls instead of answering."""


# Finish reasons, as OpenAI and those who follow it write them (vLLM, SGLang, llama.cpp, Mistral, DeepSeek, Zhipu), and
# as gateways pass on those of Anthropic, Gemini, Bedrock and Cohere. Only letters, since the rest differs among them.
_LIMIT = frozenset(
    {
        "length", "limit", "maxtokens", "maxoutputtokens", "maxcompletiontokens", "maxlength", "tokenlimit",
        "modellength", "modelcontextwindowexceeded", "contextlength", "contextlengthexceeded", "errorlimit",
    }
)  # fmt: skip
_FILTERED = frozenset(
    {
        "contentfilter", "contentfiltered", "safety", "imagesafety", "recitation", "imagerecitation", "blocklist",
        "prohibitedcontent", "imageprohibitedcontent", "spii", "language", "refusal", "refused", "sensitive",
        "guardrailintervened", "errortoxic", "moderation", "blocked",
    }
)  # fmt: skip
_FAILED = frozenset(
    {
        "error", "abort", "aborted", "cancel", "canceled", "cancelled", "usercancel", "failed", "failure", "timeout",
        "networkerror", "internalerror", "servererror", "insufficientsystemresource", "malformedfunctioncall",
        "malformedresponse", "malformedmodeloutput", "malformedtooluse", "unexpectedtoolcall",
    }
)  # fmt: skip
_CALLED = frozenset({"toolcalls", "toolcall", "tooluse", "functioncall"})
_ENDED = frozenset(
    {
        "", "null", "none", "unspecified", "stop", "stopsequence", "stopped", "eos", "eostoken", "eot", "endturn",
        "endofturn", "complete", "completed", "finished", "done", "success",
    }
)  # fmt: skip
"""An end that the model itself chose, or one of which nothing is said: then an empty text is what it had to say."""

_NO_LETTER = re.compile(r"[^a-z]+")


def text_of(choice: Choice, error: object, *, offered: bool = False) -> ChoiceText:
    """The answer. `error` is what stands beside the choices, and `offered` says whether there were tools to call.
    Raises `UnreadableAnswerError`."""
    reply, reason = choice.message, _reason(choice.finish_reason)
    text, refusal, thoughts = _said(reply)
    failed = next((said for said in map(read_error, (choice.error, reply.error, error)) if said.error), NOTHING)
    if failed.error or reason in _FAILED:
        raise UnreadableAnswerError(
            f"the answer failed (finish_reason {choice.finish_reason})" + (f": {failed.words}" if failed.words else ""),
            retryable=not failed.out_of_money,
        )
    if refusal:
        raise UnreadableAnswerError(f"the model refused: {refusal}", "refused", retryable=False)
    if reason in _FILTERED:
        did = "ended" if text else "removed"
        raise UnreadableAnswerError(
            f"the endpoint's content filter {did} the answer (finish_reason {choice.finish_reason})",
            "refused", retryable=False,
        )  # fmt: skip
    if offered and (calls := _calls(reply)):
        return ChoiceText(text or "", reason in _LIMIT, calls)
    if text is not None and text.strip():
        return ChoiceText(text, cut_off=reason in _LIMIT)  # half an answer is what a small max_tokens wants
    if reason in _LIMIT:  # for good: the same call would meet the same limit
        raise UnreadableAnswerError(
            "the answer holds no text: its limit of tokens was used up before any came",
            retryable=False, hint="a larger max_tokens, or less reasoning, leaves room for it",
        )  # fmt: skip
    if reply.tool_calls or reply.function_call or reason in _CALLED:
        raise UnreadableAnswerError(
            "the answer is said to call tools, and holds no call"
            if offered
            else "the model called a tool, and none was offered"
        )
    if text is None:
        held = "null" if reply.content is None else "without any"
        raise UnreadableAnswerError(f"the answer holds no text (its content is {held})")
    if thoughts or any(getattr(reply, name) for name in THOUGHTS):
        raise UnreadableAnswerError("the answer holds no text, only thoughts")
    if reason not in _ENDED:
        raise UnreadableAnswerError(f"the answer holds no text (finish_reason {choice.finish_reason})")
    return ChoiceText(text, cut_off=False)  # who is asked for what is wrong with a text may find nothing


def _calls(reply: ChoiceMessage) -> tuple[RequestedCall, ...]:
    try:
        return read_calls(reply.tool_calls, reply.function_call)
    except ValueError as flaw:
        raise UnreadableAnswerError(f"the answer holds {flaw}") from None


def _reason(given: object) -> str:
    """``MAX_TOKENS``, ``FinishReason.maxTokens`` and ``max-tokens`` are the same; so is an object with that as its
    `type`, or a list of one."""
    if isinstance(given, list):
        given = next(iter(cast(list[object], given)), None)
    if isinstance(given, dict):
        fields = cast(dict[str, object], given)
        given = fields.get("type") or fields.get("reason") or "unknown"
    return _NO_LETTER.sub("", given.lower()).removeprefix("finishreason") if isinstance(given, str) else ""


def _said(reply: ChoiceMessage) -> tuple[str | None, str, bool]:
    """The text, None where there is not even an empty one; the words of a refusal; and whether there is anything else,
    such as thoughts."""
    refusal = reply.refusal if isinstance(reply.refusal, str) else "it does not say why" if reply.refusal else ""
    if isinstance(reply.content, str):
        return as_utf8(reply.content), refusal, False
    texts: list[str] = []
    others = False
    for kind, part in content_parts(reply.content):
        if kind == "refusal":
            refusal = part or "it does not say why"
        elif kind in ("text", "output_text"):
            texts.append(part)
        else:
            others = True
    return as_utf8("".join(texts)) if texts else None, refusal, others


def content_parts(content: object) -> Iterator[tuple[str, str]]:
    """Kind and words of each part; those of one that is neither text nor a refusal are not looked for."""
    for part in cast(list[object], content) if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield "text", part
        elif isinstance(part, dict):
            fields = cast(dict[str, object], part)
            kind = fields.get("type") or "text"
            words = fields.get("refusal") or fields.get("text") if kind == "refusal" else fields.get("text")
            if isinstance(kind, str) and isinstance(words, str):
                yield kind, words
            elif isinstance(kind, str) and kind not in ("text", "output_text"):
                yield kind, ""
