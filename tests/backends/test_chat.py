"""Bodies of chat calls and answers, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.chat import (
    UnreadableAnswerError,
    decode_answer,
    effort,
    encode_call,
    error_text,
    retry_after,
    service_time,
)
from apxm.backends.protocol import ModelRequest, Usage
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError


def sent(request: ModelRequest, **settings: Any) -> Any:
    return json.loads(encode_call(request, OpenAISettings(model="m", endpoint="http://h", **settings)))


def test_a_plain_call_says_no_more_than_it_must() -> None:
    assert sent(ModelRequest("Hi")) == {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def test_all_options_of_a_call() -> None:
    request = ModelRequest("Hi", system="Be brief.", model="n", temperature=0.0, max_tokens=5)
    assert sent(request) == {
        "model": "n",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.0,
        "max_tokens": 5,
    }


def test_settings_fill_in_what_the_call_leaves_open_and_yield_to_what_it_says() -> None:
    settings = {"system": "Default.", "temperature": 0.5, "max_tokens": 7}
    body = sent(ModelRequest("Hi"), **settings)
    assert (body["messages"][0]["content"], body["temperature"], body["max_tokens"]) == ("Default.", 0.5, 7)
    body = sent(ModelRequest("Hi", system="Mine.", temperature=1.0, max_tokens=1), **settings)
    assert (body["messages"][0]["content"], body["temperature"], body["max_tokens"]) == ("Mine.", 1.0, 1)


def test_an_empty_system_text_is_left_out_and_replaces_the_default() -> None:
    assert len(sent(ModelRequest("Hi", system=""), system="Default.")["messages"]) == 1


def test_the_limit_goes_by_the_name_that_the_endpoint_wants() -> None:
    body = sent(ModelRequest("Hi", max_tokens=5), max_tokens_field="max_completion_tokens")
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(None, "medium"), (1, "low"), (1024, "low"), (1025, "medium"), (8192, "medium"), (8193, "high")],
)
def test_a_budget_becomes_an_effort(budget: int | None, expected: str) -> None:
    assert effort(budget) == expected
    request = ModelRequest("Hi", reasoning=True, reasoning_budget=budget)
    assert sent(request, reasoning="effort")["reasoning_effort"] == expected


def test_further_fields_are_sent_and_the_call_wins() -> None:
    body = sent(ModelRequest("Hi", temperature=0.0), body={"top_k": 1, "temperature": 9})
    assert (body["top_k"], body["temperature"]) == (1, 0.0)


def test_half_a_surrogate_pair_cannot_be_sent() -> None:
    with pytest.raises(BackendError, match="surrogate") as caught:
        sent(ModelRequest("\ud800"))
    assert (caught.value.kind, caught.value.retryable) == ("unsendable", False)


def answer(message: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], **fields}).encode()


def test_text_usage_and_model_are_read() -> None:
    body = answer({"content": "Hé"}, usage={"prompt_tokens": 3, "completion_tokens": 1}, model="n")
    got = decode_answer(body, 5)
    assert (got.text, got.usage, got.model, got.service_ns) == ("Hé", Usage(3, 1), "n", 5)


def test_parts_are_joined_and_what_is_not_text_is_left_out() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert decode_answer(answer({"content": parts}), None).text == "ab"


def test_an_empty_answer_is_an_answer() -> None:
    assert decode_answer(answer({"content": ""}), None).text == ""


@pytest.mark.parametrize("usage", [None, {}, [], "x", {"prompt_tokens": -1}, {"prompt_tokens": 1.5, "x": 1}])
def test_a_usage_that_is_none_does_not_spoil_an_answer(usage: Any) -> None:
    assert decode_answer(answer({"content": "a"}, usage=usage), None).usage == Usage(None, None)


@pytest.mark.parametrize(
    ("body", "kind", "found"),
    [
        (b"", "unreadable_answer", "not a chat completion in JSON"),
        (b"<html>", "unreadable_answer", "not a chat completion in JSON"),
        (b"[]", "unreadable_answer", "not a chat completion in JSON"),
        (b'{"choices": 1}', "unreadable_answer", "not a chat completion in JSON"),
        (b"[" * 100_000, "unreadable_answer", "not a chat completion in JSON"),
        (b'{"choices": [{"message": {"content": "\xff"}}]}', "unreadable_answer", "not UTF-8"),
        (b"{}", "unreadable_answer", "no choices"),
        (b'{"choices": []}', "unreadable_answer", "no choices"),
        (b'{"error": {"message": "overloaded", "code": 502}}', "unreadable_answer", "an error: overloaded"),
        (answer({"content": None}), "unreadable_answer", "content is null"),
        (answer({}), "unreadable_answer", "content is null"),
        (answer({"content": None, "tool_calls": [{"id": "1"}]}), "unreadable_answer", "called a tool"),
        (answer({"content": None, "refusal": "No."}), "refused", "refused: No."),
        (b'{"choices": [{"message": {}, "finish_reason": "content_filter"}]}', "refused", "content filter"),
        (b'{"choices": [{"message": {}, "finish_reason": "length"}]}', "unreadable_answer", "limit of tokens"),
    ],
)
def test_an_unreadable_answer_says_why(body: bytes, kind: str, found: str) -> None:
    with pytest.raises(UnreadableAnswerError, match=found) as caught:
        decode_answer(body, None)
    assert caught.value.kind == kind


@given(st.binary(max_size=60) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_whatever_comes_is_an_answer_or_unreadable(body: bytes | str) -> None:
    with pytest.raises(UnreadableAnswerError):
        decode_answer(body.encode() if isinstance(body, str) else body, None)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": {"message": "bad key", "type": "x"}}', "bad key"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"message": "no"}', "no"),
        (b'{"detail": "no"}', "no"),
        (b'{"error": {"error": {"error": {"error": {"message": "deep"}}}}}', '{"error": {"error"'),
        (b"plain \xff", "plain \ufffd"),
        (b"[" * 100_000, "[[["),
        (b"", ""),
    ],
)
def test_the_message_in_an_error_body(body: bytes, text: str) -> None:
    assert error_text(body).startswith(text)


@pytest.mark.parametrize(
    ("server_timing", "processing", "expected"),
    [
        ([], None, None),
        (["total;dur=12.5"], "7", 12_500_000),
        (['db;dur=1, total;desc="all";dur=2'], None, 2_000_000),
        (["cfRequestDuration;dur=9", "TOTAL ; DUR=3"], None, 3_000_000),
        (["edge;dur=1, subtotal;dur=5"], "7", 7_000_000),
        (["total"], "7", 7_000_000),
        (["total;dur=-4"], None, 0),
        (["total;dur=nan"], None, None),
        ([], "soon", None),
        ([], "inf", None),
    ],
)
def test_the_service_time_is_the_total_that_the_endpoint_states(
    server_timing: list[str], processing: str | None, expected: int | None
) -> None:
    assert service_time(server_timing, processing) == expected


@pytest.mark.parametrize(
    ("milliseconds", "header", "seconds"),
    [
        (None, None, None),
        ("1500", "9", 1.5),
        (None, "2", 2),
        (None, "0.25", 0.25),
        ("soon", "3", 3),
        (None, "Wed, 21 Oct 2026 07:28:00 GMT", 10),
        (None, "Wed, 21 Oct 2026 07:27:00 GMT", 0),
        (None, "soon", None),
        (None, "-1", None),
        (None, "nan", None),
        (None, "inf", None),
        (None, "Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_how_long_an_endpoint_asks_to_be_left_alone(
    milliseconds: str | None, header: str | None, seconds: float | None
) -> None:
    assert retry_after(milliseconds, header, now=lambda: 1_792_567_670) == seconds
