"""Calls of tools in the answers of endpoints, whole and in parts, and what is sent of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from apxm.backends.chat import decode_answer
from apxm.backends.dialogue import OfferedTool, RequestedCall, Round
from apxm.backends.protocol import ModelAnswer, ModelRequest, sound_outcome
from apxm.errors import BackendError
from apxm.operations.schemas import answer_format
from apxm.operations.types import INT
from tests.backends.test_chat import sent
from tests.backends.test_chat_stream import DONE, chunk, streamed
from tests.backends.test_openai import ask, make
from tests.servers import Reply, Server, as_json, completion

SCHEMA = '{"type":"object","properties":{"q":{"type":"string"}},"required":["q"],"additionalProperties":false}'
SEARCH = OfferedTool("search", SCHEMA, "Looks it up.")
OFFERING = ModelRequest("Hi", tools=(SEARCH,))
PAST = Round(
    "Let me see.",
    (RequestedCall("a", "search", '{"q":"x"}'), RequestedCall("b", "fetch", "{}")),
    ('["y"]', "error: there is no tool 'fetch'"),
)


def test_tools_are_sent_with_their_schemas_and_past_rounds_as_messages() -> None:
    body = sent(ModelRequest("Hi", system="Be brief.", tools=(SEARCH,), rounds=(PAST,)))
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "search", "parameters": json.loads(SCHEMA), "description": "Looks it up."},
        }
    ]
    assert "tool_choice" not in body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "a", "function": {"name": "search", "arguments": '{"q":"x"}'}, "type": "function"},
                {"id": "b", "function": {"name": "fetch", "arguments": "{}"}, "type": "function"},
            ],
        },
        {"role": "tool", "content": '["y"]', "tool_call_id": "a"},
        {"role": "tool", "content": "error: there is no tool 'fetch'", "tool_call_id": "b"},
    ]


def test_a_model_that_is_to_answer_is_sent_the_tools_and_told_to_call_none() -> None:
    body = sent(ModelRequest("Hi", tools=(SEARCH,), may_call=False))
    assert body["tool_choice"] == "none"
    assert len(body["tools"]) == 1


@pytest.mark.parametrize("may_call", [True, False])
def test_the_format_of_an_answer_is_told_in_words_while_there_may_be_calls(may_call: bool) -> None:
    body = sent(ModelRequest("Hi", tools=(SEARCH,), may_call=may_call, answer=answer_format(INT)))
    assert ("response_format" in body) is not may_call
    assert ("fits this schema" in body["messages"][0]["content"]) is may_call


def call(name: Any = "search", arguments: Any = '{"q":"x"}', **fields: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}, **fields}


SPACED = RequestedCall("a", "search", '{"q": "x"}')
ONE = (RequestedCall("a", "search", '{"q":"x"}'),)
MESSAGES: dict[str, tuple[dict[str, Any], tuple[RequestedCall, ...]]] = {
    "as it should be": ({"tool_calls": [call()]}, ONE),
    "arguments as an object": ({"tool_calls": [call(arguments={"q": "x"})]}, (SPACED,)),
    "no arguments": ({"tool_calls": [call(arguments="")]}, (RequestedCall("a", "search", ""),)),
    "null for arguments": ({"tool_calls": [call(arguments=None)]}, (RequestedCall("a", "search", ""),)),
    "a number for an id": ({"tool_calls": [call(id=7)]}, (RequestedCall("call_1", "search", '{"q":"x"}'),)),
    "one id for two": (
        {"tool_calls": [call(), call("fetch", "{}")]}, (*ONE, RequestedCall("a_2", "fetch", "{}")),
    ),
    "one id for two, and what it is made unique by is there": (
        {"tool_calls": [call(id="a_3"), call(), call()]},
        tuple(RequestedCall(own, "search", '{"q":"x"}') for own in ("a_3", "a", "a_3_3")),
    ),
    "no ids": (
        {"tool_calls": [call(id=""), call("fetch", "{}", id=None)]},
        (RequestedCall("call_1", "search", '{"q":"x"}'), RequestedCall("call_2", "fetch", "{}")),
    ),
    "no object around name and arguments": (
        {"tool_calls": [{"id": "a", "name": "search", "arguments": {"q": "x"}}]}, (SPACED,),
    ),
    "one that is no list": ({"tool_calls": call()}, ONE),
    "the older field": (
        {"function_call": {"name": "search", "arguments": "{}"}}, (RequestedCall("call_1", "search", "{}"),),
    ),
    "no name": ({"tool_calls": [call(name=None)]}, (RequestedCall("a", "", '{"q":"x"}'),)),
}  # fmt: skip


def answered(message: dict[str, Any], reason: Any = "tool_calls") -> bytes:
    return json.dumps({"choices": [{"message": {"content": None, **message}, "finish_reason": reason}]}).encode()


@pytest.mark.parametrize(("message", "calls"), MESSAGES.values(), ids=MESSAGES)
def test_calls_are_read_however_they_are_written(message: dict[str, Any], calls: tuple[RequestedCall, ...]) -> None:
    answer = decode_answer(answered(message), None, offered=True)
    assert (answer.text, answer.calls, answer.cut_off) == ("", calls, False)


@pytest.mark.parametrize("reason", ["stop", "function_call", None, "end_turn", "weird"])
def test_calls_are_calls_whatever_is_said_of_the_end(reason: str | None) -> None:
    assert decode_answer(answered({"tool_calls": [call()]}, reason), None, offered=True).calls == ONE


def test_text_beside_calls_is_kept() -> None:
    answer = decode_answer(answered({"content": "Let me see.", "tool_calls": [call()]}), None, offered=True)
    assert (answer.text, answer.calls) == ("Let me see.", ONE)


def test_calls_that_a_limit_cut_off_say_so() -> None:
    cut = decode_answer(answered({"tool_calls": [call(arguments='{"q": "x')]}, "length"), None, offered=True)
    assert (cut.calls, cut.cut_off) == ((RequestedCall("a", "search", '{"q": "x'),), True)


def failure(reply: Reply, request: ModelRequest = OFFERING) -> BackendError:
    found, _ = ask(reply, request)
    assert isinstance(found, BackendError)
    return found


def test_a_refusal_is_one_beside_calls() -> None:
    reply = as_json({"choices": [{"message": {"refusal": "No.", "tool_calls": [call()]}, "finish_reason": "stop"}]})
    assert failure(reply).kind == "refused"


@pytest.mark.parametrize(
    ("message", "said"),
    [({"tool_calls": []}, "is said to call tools, and holds no call"), ({"tool_calls": ["search"]}, "no object")],
)
def test_calls_that_are_none_may_pass(message: dict[str, Any], said: str) -> None:
    error = failure(Reply(answered(message)))
    assert (error.kind, error.retryable) == ("unreadable_answer", True)
    assert said in str(error)


def test_an_answer_without_calls_is_one() -> None:
    found, _ = ask(completion("Hello."), OFFERING)
    assert isinstance(found, ModelAnswer)
    assert (found.text, found.calls) == ("Hello.", ())


# --- refused -------------------------------------------------------------------------------------------------------

REFUSALS = [
    (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
    (422, "Extra inputs are not permitted: tools"),
    (500, "tools param requires --jinja flag"),
    (501, "function calling is not supported by this model"),
]


@pytest.mark.parametrize(("status", "said"), REFUSALS)
def test_an_endpoint_that_takes_no_tools_says_so_once_and_is_told_of(status: int, said: str) -> None:
    error = failure(as_json({"error": {"message": said}}, status))
    assert (error.kind, error.retryable) == ("tools_refused", False)
    assert said in error.message
    assert error.hint is not None
    assert "another `backend:`" in error.hint


@pytest.mark.parametrize(
    "said", ["maximum context length is 8192 tokens (8000 in the messages, 900 in the functions)", "Invalid value: 'x'"]
)
def test_other_refusals_stay_what_they_are(said: str) -> None:
    assert failure(as_json({"error": {"message": said}}, 400)).kind == "http_status"


def test_a_call_without_tools_is_not_refused_for_them() -> None:
    assert (
        failure(as_json({"error": {"message": "tools are not supported"}}, 400), ModelRequest("Hi")).kind
        == "http_status"
    )


# --- in parts ------------------------------------------------------------------------------------------------------


def part(**delta: Any) -> str:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n"


def function(arguments: str | None = None, name: str | None = None) -> dict[str, Any]:
    return {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}


TWO = (RequestedCall("a", "search", '{"q":"x"}'), RequestedCall("b", "search", '{"q":"y"}'))
STREAMS: dict[str, tuple[tuple[str, ...], tuple[RequestedCall, ...]]] = {
    "by index": (
        (
            part(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": function("", "search")}]),
            part(tool_calls=[{"index": 0, "function": function('{"q":')}]),
            part(tool_calls=[{"index": 0, "function": function('"x"}')}]),
            part(tool_calls=[{"index": 1, "id": "b", "function": function('{"q":', "search")}]),
            part(tool_calls=[{"index": 1, "function": function('"y"}')}]),
        ),
        TWO,
    ),
    "all mixed": (
        (
            part(tool_calls=[{"index": 0, "id": "a", "function": function("", "search")}, {"index": 1, "id": "b"}]),
            part(tool_calls=[{"index": 1, "function": function('{"q":"y"}', "search")}]),
            part(tool_calls=[{"index": 0, "function": function('{"q":"x"}')}]),
        ),
        TWO,
    ),
    "ids repeated": (
        (
            part(tool_calls=[{"index": 0, "id": "a", "function": function('{"q":', "search")}]),
            part(tool_calls=[{"index": 0, "id": "a", "function": function('"x"}', "search")}]),
        ),
        TWO[:1],
    ),
    "one index for all": (
        (
            part(tool_calls=[{"index": 0, "id": "a", "function": function('{"q":"x"}', "search")}]),
            part(tool_calls=[{"index": 0, "id": "b", "function": function('{"q":"y"}', "search")}]),
        ),
        TWO,
    ),
    "no index": (
        (
            part(tool_calls=[{"id": "a", "function": function('{"q":', "search")}]),
            part(tool_calls=[{"function": function('"x"}')}]),
            part(tool_calls=[{"id": "b", "function": function('{"q":"y"}', "search")}]),
        ),
        TWO,
    ),
    "neither index nor ids": (
        (
            part(tool_calls=[{"function": function('{"q":"x"}', "search")}]),
            part(tool_calls=[{"function": function('{"q":"y"}', "search")}]),
        ),
        (RequestedCall("call_1", "search", '{"q":"x"}'), RequestedCall("call_2", "search", '{"q":"y"}')),
    ),
    "the older field": (
        (
            part(function_call={"name": "search", "arguments": ""}),
            part(function_call={"arguments": '{"q":'}),
            part(function_call={"arguments": '"x"}'}),
        ),
        (RequestedCall("call_1", "search", '{"q":"x"}'),),
    ),
}


@pytest.mark.parametrize(("parts", "calls"), STREAMS.values(), ids=STREAMS)
def test_calls_in_parts_are_put_together(parts: tuple[str, ...], calls: tuple[RequestedCall, ...]) -> None:
    told: list[str] = []

    async def run() -> ModelAnswer:
        async with Server(streamed(chunk("Let me see."), *parts, chunk(reason="tool_calls"), DONE)) as server:
            return await make(server).call_stream(OFFERING, told.append)

    answer = asyncio.run(run())
    assert (answer.text, answer.calls) == ("Let me see.", calls)
    assert told == ["Let me see.", *[""] * len(parts)]


# --- whoever wrote the backend -------------------------------------------------------------------------------------


class Text(str):
    __slots__ = ()


def test_calls_of_any_backend_become_plain() -> None:
    found = sound_outcome(ModelAnswer("", calls=(RequestedCall(Text("a"), "b\ud800", "{}"),)))
    assert isinstance(found, ModelAnswer)
    assert found.calls == (RequestedCall("a", "b\ufffd", "{}"),)
    assert type(found.calls[0].id) is str


@pytest.mark.parametrize(
    ("calls", "said"),
    [([RequestedCall("a", "b", "{}")], "whose calls are a list"), (("search",), "with a str among its calls")],
)
def test_calls_that_are_none_are_a_defect(calls: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        sound_outcome(ModelAnswer("", calls=calls))
