"""What is read of calls of models that somebody else wrote, and of their answers."""

from __future__ import annotations

import json

import pytest

from apxm.backends.exchange import HttpRequest, model_call, usage_of
from apxm.backends.protocol import Limits, Usage

BASE = "https://host/api/v1"


def call(path: str, method: str = "POST", **body: object) -> HttpRequest | None:
    return model_call(method, f"{BASE}{path}", (), json.dumps(body).encode(), None)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/chat/completions?api-version=1", "chat.completions"),
        ("/completions", "completions"),
        ("/responses", "responses"),
        ("/embeddings", "embeddings"),
        ("/messages", "messages"),
    ],
)
def test_a_call_of_a_model_is_known_by_its_path(path: str, kind: str) -> None:
    found = call(path, model="m")
    assert found is not None
    assert (found.called, found.model) == ((kind, BASE), "m")


@pytest.mark.parametrize("path", ["/models", "/files", "/messages/count_tokens", "/threads/t/messages", "/responses/r"])
def test_everything_else_is_none(path: str) -> None:
    assert call(path) is None


def test_what_cannot_be_read_as_a_call_is_none() -> None:
    assert call("/responses", method="GET") is None
    assert model_call("POST", f"{BASE}/responses", (), b"--form--", None) is None
    assert model_call("POST", f"{BASE}/responses", (), b"[1]", None) is None


def test_the_most_that_a_call_can_take() -> None:
    image = "data:image/png;base64," + "A" * 100_000
    small, large, vectors = call("/messages", max_tokens=5), call("/responses", input=image), call("/embeddings")
    assert small is not None
    assert large is not None
    assert vectors is not None
    assert (small.most_output(7), large.most_output(7), vectors.most_output(7)) == (5, 7, 0)
    assert 1000 < large.largest_input(Limits(image_tokens=1000)) < 1200, "an image counts as one, however large it is"


def sent(*events: object) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("content", "is_stream", "usage"),
    [
        (b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}', False, Usage(1, 2)),
        (b'{"usage": {"input_tokens": 1, "output_tokens": 2}}', False, Usage(1, 2)),
        (b'{"usage": {"prompt_tokens": 3, "total_tokens": 3}}', False, Usage(3, 0)),
        (b'{"usage": {"prompt_tokens": -1, "completion_tokens": "2"}}', False, Usage()),
        (b'{"usage": null}', False, Usage()),
        (b'"usage"', False, Usage()),
        (b'{"usage" cut', False, Usage()),
        (sent({"usage": None}, {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}), True, Usage(1, 2)),
        (sent({"response": {"usage": {"input_tokens": 1, "output_tokens": 2}}}), True, Usage(1, 2)),
        (
            sent(
                {"message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
                {"type": "message_delta", "usage": {"output_tokens": 5}},
            ),
            True,
            Usage(9, 5),
        ),
        (sent({"choices": []}), True, Usage()),
    ],
)
def test_the_tokens_that_an_answer_took(content: bytes, is_stream: bool, usage: Usage) -> None:
    assert usage_of(content, is_stream) == usage
