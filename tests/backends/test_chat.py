"""Bodies of chat calls and answers, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apxm.backends.chat import decode_answer, effort, encode_call
from apxm.backends.choice import UnreadableAnswerError
from apxm.backends.dialogue import OfferedTool
from apxm.backends.protocol import ModelAnswer, ModelRequest, Usage
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError
from apxm.operations.schemas import answer_format
from apxm.operations.types import INT


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


def test_fields_of_the_settings_stand_beside_a_schema_and_tools() -> None:
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = OfferedTool("double", json.dumps(number), "Twice a number.")
    body = sent(ModelRequest("Hi", tools=(tool,)), body={"seed": 1, "tools": []})
    assert (body["seed"], body["tools"][0]["function"]["parameters"]) == (1, number)
    body = sent(ModelRequest("Hi", answer=answer_format(INT)), body={"seed": 1})
    assert body["response_format"]["json_schema"]["name"] == "int"


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
    ("written", "count"),
    [
        ("12", 12),
        ("12.0", 12),
        ("1.2e1", 12),
        ("1000000000", 10**9),
        ("1000000001", None),
        (str(2**63), None),
        (str(2**64), None),
        ("1e30", None),
        ("9" * 320, None),
        ("9" * 5000, None),
        ("-" + "9" * 5000, None),
        ("1e999", None),
        ("NaN", None),
        ("-Infinity", None),
        ("12.5", None),
        ("-1", None),
        ("true", None),
        ('"12"', None),
        ("[12]", None),
        ("null", None),
    ],
)
def test_a_count_is_plausible_or_the_endpoint_does_not_say(written: str, count: int | None) -> None:
    body = answer({"content": "a"}, usage={"prompt_tokens": 0}).replace(b'"prompt_tokens": 0', b'"prompt_tokens": %s')
    assert decode_answer(body % written.encode(), None) == ModelAnswer("a", Usage(count, None))


FINE = answer({"content": "fine, \u00e4 \U0001f600"}, usage={"prompt_tokens": 3, "completion_tokens": 2}, model="n")


@pytest.mark.parametrize(
    "body",
    [
        FINE[:-1] + b', "timings": {"per_second": NaN}}',
        FINE[:-1] + b', "x": [-Infinity, Infinity, 1e999, %s]}' % (b"9" * 5000),
        FINE.replace(b'"stop"', b'"stop", "logprobs": {"content": [{"logprob": -Infinity}]}'),
        b"\xef\xbb\xbf" + FINE,
        FINE.decode().encode("utf-16"),
        FINE.decode().encode("utf-16-le"),
        FINE.decode().encode("utf-32"),
        FINE[:-1] + b', "x": "\\ud800"}',
        FINE[:-1] + b', "x": "a\nb\tc"}',
        b"\n\n  " + FINE + b"\r\n",
        FINE.replace(b'"stop"', b'["stop"], "index": "x", "error": {"code": null, "message": ""}'),
        FINE.replace(b'"message": {', b'"message": {"refusal": false, "tool_calls": 0, "audio": [], "role": 7, '),
        FINE.replace(b'"choices": [', b'"error": {}, "id": {}, "created": "soon", "choices": ['),
        FINE.replace(b"}]", b'}, 5, {"message": []}]'),
        FINE.replace(b'"stop"', b'"stop", "logprobs": {"content": [{"token": "\xe2\x82", "logprob": NaN}]}'),
        FINE.replace(b'"message": {', b'"message": {"reasoning_content": "cut \xe2\x82", "tool_calls": ["\xff"], '),
    ],
)
def test_what_nobody_needs_costs_no_answer(body: bytes) -> None:
    assert decode_answer(body, 5) == ModelAnswer("fine, \xe4 \U0001f600", Usage(3, 2), 5, "n")


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
