"""What an endpoint says of an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apxm.backends.error_report import read_error, read_error_body


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
    assert read_error_body(body).words.startswith(text)


@pytest.mark.parametrize(
    ("error", "out_of_money"),
    [
        ({"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}}, True),
        ({"error": {"message": "m", "type": "insufficient_quota", "code": None}}, True),
        ({"error": {"message": "m", "type": 5, "code": "billing_hard_limit_reached"}}, True),
        ({"error": {"message": "m", "type": "exceeded_current_quota_error"}}, True),
        ({"error": {"error": {"code": "InsufficientQuota"}}}, True),
        ({"code": "insufficient-quota", "message": "m"}, True),
        ([{"error": {"code": "insufficient_quota"}}], True),
        ({"error": "insufficient_quota"}, True),
        ({"errors": [{"code": "insufficient_quota"}]}, True),
        ({"error": {"message": '429: {"error": {"message": "m", "code": "insufficient_quota"}}'}}, True),
        ({"error": {"message": "m", "type": "requests", "code": "rate_limit_exceeded"}}, False),
        ({"error": {"message": "insufficient_quota is not the matter here", "code": 429}}, False),
        ({"error": [], "code": ["insufficient_quota"]}, False),
        (None, False),
        ([], False),
        (5, False),
    ],
)
def test_whether_waiting_helps_is_told_by_code_and_type(error: Any, out_of_money: bool) -> None:
    assert read_error(error).out_of_money == out_of_money
    assert read_error_body(json.dumps(error).encode()).out_of_money == out_of_money


@pytest.mark.parametrize(
    "nothing", [None, {}, [], "", False, 0, {"message": "", "type": "", "param": "", "code": None}]
)
def test_an_error_that_says_nothing_is_none(nothing: Any) -> None:
    assert not read_error(nothing).error


@pytest.mark.parametrize("body", [b'\xef\xbb\xbf{"error": "so"}', b'{"x": NaN, "error": {"message": "so"}}'])
def test_an_error_is_read_as_leniently_as_an_answer(body: bytes) -> None:
    assert read_error_body(body).words == "so"
