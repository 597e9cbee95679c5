"""Chat calls that ask for more than words: shapes, tools, several choices, probabilities; and what is not served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from apxm.simulator.bodies import BadRequestError, reader
from apxm.simulator.chat import ChatCall, ChatRequest
from tests.simulator.conftest import Serve
from tests.simulator.serving import Served, chat

Json = dict[str, Any]
PERSON: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
read_request = reader(ChatRequest)
USER = {"role": "user", "content": "Weather in Rome?"}


def tool(name: str, parameters: Any = PERSON) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("first"), tool("second"), tool("last")]


def shaped(schema: Any = PERSON, **fields: Any) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, **fields}}


def choices(served: Served, **fields: Any) -> list[Any]:
    answer = served.ask(chat(**{"messages": [USER], **fields}))
    assert answer.status == 200, answer.body
    return answer.json["choices"]


def refused(**fields: Any) -> tuple[str | None, str]:
    with pytest.raises(BadRequestError) as bad:
        ChatCall(read_request(json.dumps({"messages": [USER], **fields}).encode()))
    return bad.value.param, bad.value.message


# --- a shape -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [None, True, False])
def test_an_answer_has_the_shape_of_its_schema(serve: Serve, strict: bool | None) -> None:
    served = serve()
    (choice,) = choices(served, response_format=shaped(strict=strict))
    Draft202012Validator(PERSON).validate(json.loads(choice["message"]["content"]))
    assert choice["finish_reason"] == "stop"
    assert choices(served, response_format=shaped(strict=strict)) == [choice], "it is always the same"
    other = {"role": "user", "content": "Weather in Oslo?"}
    assert choices(served, messages=[other], response_format=shaped()) != [choice]


def test_any_object_is_one(serve: Serve) -> None:
    (choice,) = choices(serve(), response_format={"type": "json_object"})
    assert isinstance(json.loads(choice["message"]["content"]), dict)


def test_an_object_is_of_the_schema_that_the_messages_hold(serve: Serve) -> None:
    """Clients ask so of endpoints that take no schema."""
    system = {"role": "system", "content": f"Use {{braces}}, {{}} and this: {json.dumps(PERSON, indent=2)} Thanks."}
    (choice,) = choices(serve(), messages=[system, USER], response_format={"type": "json_object"})
    Draft202012Validator(PERSON).validate(json.loads(choice["message"]["content"]))


def test_free_text_is_what_it_was(serve: Serve) -> None:
    served = serve()
    assert choices(served, response_format={"type": "text"}) == choices(served)


def test_a_shape_that_its_limit_cuts(serve: Serve) -> None:
    served = serve()
    (whole,) = choices(served, response_format=shaped())
    text = whole["message"]["content"]
    (choice,) = choices(served, response_format=shaped(), max_tokens=2)
    assert (choice["message"]["content"], choice["finish_reason"]) == (text[:8], "length")
    (choice,) = choices(served, response_format=shaped(), max_tokens=-(-len(text) // 4))
    assert choice == whole, "a limit that is just enough cuts nothing"


# --- tools ---------------------------------------------------------------------------------------------------------


def called(choice: Any) -> list[str]:
    return [call["function"]["name"] for call in choice["message"].get("tool_calls", ())]


def test_a_tool_is_called_with_arguments_that_fit(serve: Serve) -> None:
    answer = serve().ask(chat(messages=[USER], tools=TOOLS)).json
    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["message"]["content"] is None
    assert (choice["finish_reason"], call["type"], call["function"]["name"]) == ("tool_calls", "function", "first")
    Draft202012Validator(PERSON).validate(json.loads(call["function"]["arguments"]))
    assert answer["usage"]["completion_tokens"] == -(-len(call["function"]["arguments"]) // 4)


def result(*names: str) -> list[Json]:
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in names]
    results = [{"role": "tool", "tool_call_id": name, "content": "sunny"} for name in names]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


LAST = {"type": "function", "function": {"name": "last"}}
WORDS = {"role": "assistant", "content": "It is sunny."}


@pytest.mark.parametrize(
    ("messages", "choice", "expected"),
    [
        ([USER], "auto", ["first"]),
        ([USER], "none", []),
        ([USER], "required", ["first"]),
        ([USER, *result("first")], "auto", []),
        ([USER, *result("first")], "required", ["second"]),
        ([USER, *result("first"), *result("second")], "required", ["last"]),
        ([USER, *result("first"), *result("second"), *result("last")], "required", ["last"]),
        ([USER, *result("first"), WORDS, USER], "auto", ["first"]),
        ([USER, *result("first"), USER], "auto", []),  # what some clients add to a result
        ([USER, *result("first")], {"type": "function", "function": {"name": "second"}}, ["second"]),
        ([USER], {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [LAST]}}, ["last"]),
    ],
)  # fmt: skip
def test_when_a_tool_is_called(serve: Serve, messages: list[Json], choice: Any, expected: list[str]) -> None:
    served = serve()
    (answered,) = choices(served, messages=messages, tools=TOOLS, tool_choice=choice)
    assert called(answered) == expected
    if not expected:
        assert answered["message"]["content"].startswith("Simulated answer")


def test_several_are_called_at_once_only_where_the_caller_says_so(serve: Serve) -> None:
    served = serve()
    assert called(*choices(served, tools=TOOLS, parallel_tool_calls=True)) == ["first", "second", "last"]
    assert called(*choices(served, tools=TOOLS, parallel_tool_calls=False)) == ["first"]


def test_after_a_result_the_words_have_the_shape(serve: Serve) -> None:
    messages = [USER, *result("first")]
    (choice,) = choices(serve(), messages=messages, tools=TOOLS, response_format=shaped())
    Draft202012Validator(PERSON).validate(json.loads(choice["message"]["content"]))


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object", "properties": {}}])
def test_a_function_that_takes_nothing_gets_an_empty_object(serve: Serve, parameters: Any) -> None:
    (choice,) = choices(serve(), tools=[tool("f", parameters)])
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_the_older_way_to_call_functions(serve: Serve) -> None:
    served = serve()
    fields: Json = {"functions": [TOOLS[0]["function"]]}
    (choice,) = choices(served, **fields)
    assert (choice["finish_reason"], choice["message"]["content"]) == ("function_call", None)
    assert choice["message"]["function_call"]["name"] == "first"
    Draft202012Validator(PERSON).validate(json.loads(choice["message"]["function_call"]["arguments"]))
    after = [USER, {"role": "assistant", "function_call": {"name": "first"}}, {"role": "function", "content": "5"}]
    assert choices(served, messages=after, **fields)[0]["finish_reason"] == "stop"
    assert choices(served, function_call="none", **fields)[0]["finish_reason"] == "stop"
    assert choices(served, messages=after, function_call={"name": "first"}, **fields)[0]["message"]["function_call"]


@pytest.mark.parametrize("rate", [None, 100_000.0], ids=["whole", "paced"])
@pytest.mark.parametrize("several", [False, True])
def test_calls_as_a_stream(serve: Serve, rate: float | None, several: bool) -> None:
    served = serve(tokens_per_second=rate)
    fields = {"messages": [USER], "tools": TOOLS, "parallel_tool_calls": several}
    whole = served.ask(chat(**fields)).json["choices"][0]["message"]["tool_calls"]
    *chunks, done = served.ask(chat(stream=True, **fields)).events
    calls: dict[int, Json] = {}
    for chunk in chunks:
        for delta in chunk["choices"][0]["delta"].get("tool_calls", ()):
            call = calls.setdefault(delta["index"], {"name": "", "arguments": ""})
            call["name"] += delta["function"].get("name", "")
            call["arguments"] += delta["function"].get("arguments", "")
    assert list(calls.values()) == [call["function"] for call in whole]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert done == "[DONE]"


# --- choices, ends, probabilities ----------------------------------------------------------------------------------


def test_several_choices_differ_and_count(serve: Serve) -> None:
    served = serve()
    answer = served.ask(chat(messages=[USER], n=3)).json
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert texts[:1] == [choice["message"]["content"] for choice in choices(served)]
    assert len(set(texts)) == 3
    assert answer["usage"]["completion_tokens"] == sum(-(-len(text) // 4) for text in texts)
    values = [choice["message"]["content"] for choice in choices(served, n=3, response_format=shaped())]
    assert len(set(values)) == 3


@pytest.mark.parametrize("rate", [None, 100_000.0], ids=["whole", "paced"])
def test_several_choices_as_a_stream(serve: Serve, rate: float | None) -> None:
    served = serve(tokens_per_second=rate)
    whole = [choice["message"]["content"] for choice in choices(served, n=2)]
    *chunks, _ = served.ask(chat(messages=[USER], n=2, stream=True)).events
    streamed = ["", ""]
    for chunk in chunks:
        (choice,) = chunk["choices"]
        streamed[choice["index"]] += choice["delta"].get("content", "")
    assert streamed == whole


@pytest.mark.parametrize(
    ("stop", "text"),
    [(":", "Simulated answer a620d647"), (["Rome", "a6"], "Simulated answer "), ("nowhere", None), ("Sim", "")],
)
@pytest.mark.parametrize("rate", [None, 100_000.0], ids=["whole", "paced"])
def test_an_answer_ends_before_what_stops_it(serve: Serve, stop: Any, text: str | None, rate: float | None) -> None:
    served = serve(tokens_per_second=rate)
    (free,) = choices(served)
    (choice,) = choices(served, stop=stop)
    expected = free["message"]["content"] if text is None else text
    assert (choice["message"]["content"], choice["finish_reason"]) == (expected, "stop")
    *chunks, _ = served.ask(chat(messages=[USER], stop=stop, stream=True)).events
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == expected


@pytest.mark.parametrize("alternatives", [None, 0, 1, 20])
def test_probabilities_are_those_of_the_tokens(serve: Serve, alternatives: int | None) -> None:
    (choice,) = choices(serve(), logprobs=True, top_logprobs=alternatives)
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    for token in tokens:
        assert bytes(token["bytes"]).decode() == token["token"]
        ranked = token["top_logprobs"]
        assert len(ranked) == (alternatives or 0)
        assert [other["logprob"] for other in ranked] == sorted((o["logprob"] for o in ranked), reverse=True)
        assert len({other["token"] for other in ranked}) == len(ranked)
        assert sum(2.718281828 ** other["logprob"] for other in ranked) <= 1 + 1e-6
        assert not ranked or ranked[0]["token"] == token["token"]
        assert token["logprob"] < 0


def test_a_stream_has_the_same_probabilities(serve: Serve) -> None:
    served = serve(tokens_per_second=100_000.0)
    (whole,) = choices(served, logprobs=True, top_logprobs=2)
    *chunks, _ = served.ask(chat(messages=[USER], logprobs=True, top_logprobs=2, stream=True)).events
    streamed = [chunk["choices"][0]["logprobs"]["content"] for chunk in chunks if chunk["choices"][0]["logprobs"]]
    assert [token for tokens in streamed for token in tokens] == whole["logprobs"]["content"]
    assert choices(served)[0]["logprobs"] is None


# --- what is refused -----------------------------------------------------------------------------------------------

PARAMETERS = "tools[1].function.parameters"
NAMED = {"type": "function", "function": {"name": "second"}}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"audio": {"voice": "alloy"}}, "audio", "does not serve"),
        ({"modalities": ["text", "audio"]}, "modalities", "'audio'"),
        ({"prediction": {"type": "content"}}, "prediction", "does not serve"),
        ({"web_search_options": {}}, "web_search_options", "does not serve"),
        ({"moderation": {"model": "m"}}, "moderation", "does not serve"),
        ({"response_fromat": {}}, "response_fromat", "knows no such field"),
        ({"response_format": {"type": "grammar"}}, "response_format.type", "'grammar'"),
        ({"response_format": {"type": "text", "x": 1}}, "response_format.x", "no such field"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "is required"),
        ({"response_format": shaped({"type": "strin"})}, "response_format.json_schema.schema", "'strin'"),
        ({"response_format": shaped({"$ref": "#/x"})}, "response_format.json_schema.schema", "leads nowhere"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "'custom'"),
        ({"tools": [tool("first"), tool("second", {"type": 5})], "tool_choice": NAMED}, PARAMETERS, "5"),
        ({"tools": TOOLS, "tool_choice": "always"}, "tool_choice", "'always'"),
        ({"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {}}}, "tool_choice.type", "'custom'"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "'x'"),
        ({"tool_choice": "required"}, "tool_choice", "none in 'tools'"),
        ({"tool_choice": NAMED}, "tool_choice", "'second'"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call", "'g'"),
        ({"tools": TOOLS, "functions": [{"name": "f"}]}, "functions", "one of the two"),
        ({"tools": [tool("f", {"type": "string"})]}, "tools[0].function.parameters", "no object"),
        ({"n": 129}, "n", "<= 128"),
        ({"stop": ""}, "stop", "length >= 1"),
        ({"top_logprobs": 2}, "top_logprobs", "'logprobs'"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "<= 20"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type", "'video'"),
    ],
)
def test_what_is_not_served_is_named(fields: Json, param: str, said: str) -> None:
    named, message = refused(**fields)
    assert said in message
    assert (named or "").startswith(param)
