"""The bodies of chat calls: what is understood, what is refused, what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apxm.backends.protocol import ModelRequest
from apxm.operations.attachments import Attachment
from apxm.simulator.bodies import BadRequestError, reader
from apxm.simulator.chat import ChatCall, ChatRequest
from tests.simulator.conftest import Serve
from tests.simulator.serving import Answer, Served, chat, post

read = reader(ChatRequest)
read_request = reader(ChatRequest)
USER = {"role": "user", "content": "Hello"}


def decoded(**fields: Any) -> ModelRequest:
    return ChatCall(read_request(json.dumps({"messages": [USER], **fields}).encode())).asked


def test_a_system_and_a_user_message_are_system_and_prompt() -> None:
    """As in process, so that both draw the same latencies."""
    request = decoded(messages=[{"role": "system", "content": "Be terse."}, USER], model="m", max_tokens=5)
    assert request == ModelRequest(prompt="Hello", system="Be terse.", model="m", max_tokens=5)
    assert decoded() == ModelRequest(prompt="Hello")


def test_a_conversation_is_one_prompt() -> None:
    request = decoded(
        messages=[
            {"role": "developer", "content": "Be terse."},
            {"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": None, "tool_calls": [{}]},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "And?"},
        ]
    )
    assert request == ModelRequest(
        prompt="Look: \n\n\n\nAnd?", system="Be terse.\n\nBe kind.", attachments=(Attachment("", url="seen"),)
    )


def test_what_no_simulated_answer_depends_on_it_passes_over() -> None:
    unheeded = {"temperature": 0.5, "seed": 7, "user": "u", "metadata": {"a": "b"}, "logit_bias": {"50": 1}, "top_k": 5}
    assert decoded(**unheeded, n=None, max_tokens=None, tools=None, audio=None) == ModelRequest("Hello")


def test_the_newer_name_of_the_limit_wins() -> None:
    assert decoded(max_tokens=5, max_completion_tokens=6).max_tokens == 6


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ("", None, "could not be read as JSON"),
        ("{", None, "could not be read as JSON"),
        (b"\xff", None, "could not be read as JSON"),
        ('{"messages": [{"role": "user", "content": "\xff"}]}'.encode("latin-1"), None, "could not be read as JSON"),
        ('{"metadata":' + '{"x":' * 100_000, None, "could not be read as JSON"),
        ("[]", None, "Expected `object`"),
        ("{}", "messages", "'messages' is required"),
        ('{"messages": null}', "messages", "'messages' is required"),
        ('{"messages": []}', "messages", "at least one message, found an empty one"),
        ('{"messages": "Hello"}', "messages", "Expected `array | null`"),
        ('{"messages": [{"content": "Hello"}]}', "messages[0]", "`role`"),
        ('{"messages": [{"role": "user", "content": 5}]}', "messages[0].content", "got `int`"),
        ('{"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}', "max_tokens", ">= 1"),
        ('{"messages": [{"role": "user", "content": "a"}], "stream": "yes"}', "stream", "Expected `bool | null`"),
        ('{"messages": [{"role": "user", "content": "a"}], "n": 0}', "n", ">= 1"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_call(body: str | bytes, param: str | None, said: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        ChatCall(read_request(body.encode() if isinstance(body, str) else body))
    assert said in refused.value.message
    assert refused.value.param == param


def test_it_is_refused_as_openai_refuses_it(serve: Serve) -> None:
    answer = asked(serve(), post("/v1/chat/completions", "{}"))
    assert answer.status == 400
    assert answer.json == {
        "error": {
            "message": "'messages' is required: expected a list of at least one message, found none.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": None,
        }
    }


def asked(served: Served, request: bytes) -> Answer:
    async def scenario() -> Answer:
        async with served.client() as client:
            return await client.ask(request)

    return served.run(scenario())


def test_a_completion(serve: Serve) -> None:
    answer = asked(serve(), chat("Hello", model="any-model")).json
    assert answer.pop("created") > 0
    assert answer == {
        "id": "chatcmpl-simulated-1",
        "object": "chat.completion",
        "model": "any-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Simulated answer ef15eaf9: Hello"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 8, "total_tokens": 10},
    }


def test_an_answer_that_its_limit_cuts(serve: Serve) -> None:
    answer = asked(serve(), chat("Hello", max_tokens=4)).json
    assert answer["choices"][0]["message"]["content"] == "Simulated answer"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("rate", [None, 100_000.0], ids=["whole", "paced"])
def test_a_stream(serve: Serve, rate: float | None) -> None:
    answer = asked(serve(tokens_per_second=rate), chat("Hello", stream=True, stream_options={"include_usage": True}))
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = answer.events
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in (*chunks, usage)} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in (*chunks, usage)}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Simulated answer ef15eaf9: Hello"
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 2, "completion_tokens": 8, "total_tokens": 10}
    # With a rate there is one chunk for each of the 8 tokens, else one for all.
    assert len(chunks) == 2 + (8 if rate else 1)


def test_a_stream_without_usage(serve: Serve) -> None:
    chunks = asked(serve(), chat("Hello", stream=True)).events[:-1]
    assert not any("usage" in chunk for chunk in chunks)


def test_a_stream_for_http_1_0_ends_with_the_connection(serve: Serve) -> None:
    served = serve(tokens_per_second=100_000.0)
    answer = asked(served, chat("Hello", "Connection: keep-alive", version="1.0", stream=True))
    assert answer.headers["connection"] == "close"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in answer.events[:-1]).endswith("Hello")
