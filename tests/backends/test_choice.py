"""What one choice of a chat completion comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apxm.backends.chat import decode_answer
from apxm.backends.choice import UnreadableAnswerError

LIMITS = [
    "length",
    "LENGTH",
    "max_tokens",
    "MAX_TOKENS",
    "FinishReason.MAX_TOKENS",
    "maxTokens",
    "model_length",
    "limit",
]
FILTERS = ["content_filter", "contentFilter", "SAFETY", "RECITATION", "prohibited_content", "refusal", "sensitive"]
FAILURES = ["error", "ERROR", "abort", "cancelled", "insufficient_system_resource", "network_error"]
CALLS = ["tool_calls", "function_call", "tool_use", "TOOL_CALL"]
ENDS = ["stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "", "null", None, 5, ["stop"]]
OTHERS = ["other", "OTHER", "unknown", "load", "FINISH_REASON_UNSPECIFIED_NEW"]

TEXTLESS: list[dict[str, Any]] = [
    {"content": None},
    {"content": ""},
    {"content": " \n"},
    {"content": []},
    {"content": [{"type": "text", "text": ""}]},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    {"content": "", "reasoning_content": "hm"},
    {},
]
WORDS: list[dict[str, Any]] = [
    {"content": "half an ans"},
    {"content": [{"type": "text", "text": "half "}, {"type": "text", "text": "an ans"}]},
    {"content": {"type": "text", "text": "half an ans"}},
    {"content": ["half ", "an ans"]},
    {"content": "half an ans", "reasoning_content": "hm"},
]


def body(message: Any, reason: Any, choice: dict[str, Any] | None = None, **fields: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": reason, **(choice or {})}], **fields}).encode()


def refused(content: bytes) -> UnreadableAnswerError:
    with pytest.raises(UnreadableAnswerError) as caught:
        decode_answer(content, None)
    return caught.value


@pytest.mark.parametrize("message", TEXTLESS + WORDS)
@pytest.mark.parametrize("reason", FILTERS)
def test_what_a_filter_touched_is_refused_for_good(message: dict[str, Any], reason: str) -> None:
    error = refused(body(message, reason))
    assert (error.kind, error.retryable) == ("refused", False)
    assert "content filter" in str(error)


@pytest.mark.parametrize("message", TEXTLESS + WORDS)
@pytest.mark.parametrize("reason", FAILURES)
def test_what_failed_may_be_tried_again(message: dict[str, Any], reason: str) -> None:
    error = refused(body(message, reason, {"error": {"code": 502, "message": "upstream died"}}))
    assert error.retryable
    assert "upstream died" in str(error)
    assert refused(body(message, reason)).retryable


@pytest.mark.parametrize("message", WORDS)
@pytest.mark.parametrize("reason", ["stop", None])
def test_an_error_beside_a_choice_is_one_whatever_the_reason(message: dict[str, Any], reason: str | None) -> None:
    for content in (body(message, reason, {"error": "died"}), body(message, reason, error={"message": "died"})):
        error = refused(content)
        assert error.retryable
        assert "died" in str(error)
    assert not refused(body(message, reason, {"error": {"code": "insufficient_quota"}})).retryable


@pytest.mark.parametrize("message", TEXTLESS)
@pytest.mark.parametrize("reason", LIMITS)
def test_a_limit_reached_before_any_text_is_final(message: dict[str, Any], reason: str) -> None:
    error = refused(body(message, reason))
    assert not error.retryable
    assert "limit of tokens" in str(error)
    assert "max_tokens" in (error.hint or "")


@pytest.mark.parametrize("message", WORDS)
@pytest.mark.parametrize("reason", LIMITS + ENDS + OTHERS + CALLS)
def test_text_is_an_answer_and_a_limit_cuts_it_off(message: dict[str, Any], reason: Any) -> None:
    answer = decode_answer(body(message, reason), None)
    assert (answer.text, answer.cut_off) == ("half an ans", reason in LIMITS)


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I will not"},
        {"content": "", "refusal": "I will not"},
        {"content": "Well,", "refusal": "I will not"},
        {"content": [{"type": "refusal", "refusal": "I will not"}]},
        {"content": [{"type": "text", "text": "Well,"}, {"type": "refusal", "refusal": "I will not"}]},
        {"content": [{"type": "refusal", "text": "I will not"}]},
    ],
)
@pytest.mark.parametrize("reason", ["stop", "length", None])
def test_a_refusal_is_final(message: dict[str, Any], reason: str | None) -> None:
    error = refused(body(message, reason))
    assert (error.kind, error.retryable, str(error)) == ("refused", False, "the model refused: I will not")


@pytest.mark.parametrize("call", [{"function_call": {"name": "f"}}, {"tool_calls": [{"id": "1"}]}, {}])
@pytest.mark.parametrize("content", [None, "", [], " "])
def test_a_call_of_a_tool_is_no_answer(call: dict[str, Any], content: Any) -> None:
    for reason in CALLS if not call else [*CALLS, "stop", None]:
        assert "called a tool" in str(refused(body({"content": content, **call}, reason)))


@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_that_the_model_ended_is_its_answer(text: str, reason: Any) -> None:
    assert decode_answer(body({"content": text, "tool_calls": [], "refusal": None}, reason), None).text == text
    assert decode_answer(body({"content": [{"type": "text", "text": text}]}, reason), None).text == text


@pytest.mark.parametrize("reason", OTHERS)
def test_an_empty_text_that_something_else_ended_is_none(reason: str) -> None:
    error = refused(body({"content": ""}, reason))
    assert reason in str(error)
    assert error.retryable


@pytest.mark.parametrize(
    "message",
    [
        {"content": [{"type": "thinking", "thinking": "hm"}]},
        {"content": [{"type": "image_url", "image_url": {"url": "data:"}}, 5, None, {"type": ["text"], "text": "no"}]},
        {"content": [{"type": "text", "text": 5}]},
        {"content": 5},
        {"content": "", "reasoning_content": "hm"},
        {"content": "", "reasoning": "hm"},
        [],
        "text",
        None,
    ],
)
def test_without_text_there_is_no_answer(message: Any) -> None:
    error = refused(body(message, "stop"))
    assert (error.kind, error.retryable) == ("unreadable_answer", True)
    assert "holds no text" in str(error)


def test_halves_of_surrogate_pairs_become_what_can_be_printed_and_stored() -> None:
    content = b'{"choices": [{"message": {"content": "a\\ud800b\\udc00\\ud83d\\ude00"}}]}'
    assert decode_answer(content, None).text == "a\ufffdb\ufffd\U0001f600"


THOUGHTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": ""}]


@pytest.mark.parametrize(
    "message",
    [
        {"content": THOUGHTS},
        {"content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": ""}]},
        {"content": "", "reasoning_details": [{"text": "hm"}]},
        {"content": "", "thinking": "hm"},
    ],
)
def test_thoughts_beside_an_empty_text_are_no_answer(message: dict[str, Any]) -> None:
    assert "only thoughts" in str(refused(body(message, "stop")))


@pytest.mark.parametrize("reason", [{"type": "length"}, ["length"], {"reason": "max_tokens"}])
def test_a_reason_may_be_wrapped(reason: Any) -> None:
    assert "limit of tokens" in str(refused(body({"content": ""}, reason)))
    assert decode_answer(body({"content": "half"}, reason), None).cut_off


def test_an_unknown_wrapped_reason_is_no_end_that_the_model_chose() -> None:
    assert refused(body({"content": ""}, {"code": 7})).retryable


@pytest.mark.parametrize("refusal", [{"reason": "policy"}, ["no"], True])
def test_a_refusal_without_words_is_one(refusal: Any) -> None:
    error = refused(body({"content": "Well,", "refusal": refusal}, "stop"))
    assert (error.kind, error.retryable) == ("refused", False)
    assert refused(body({"content": [{"type": "refusal", "refusal": {"a": 1}}]}, "stop")).kind == "refused"


def test_an_error_within_the_message_is_one() -> None:
    assert "boom" in str(refused(body({"content": "half", "error": {"message": "boom"}}, "stop")))
