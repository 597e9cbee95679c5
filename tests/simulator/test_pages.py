"""Embeddings, completions and responses; and that times, faults and counts are of all pages alike."""

from __future__ import annotations

import json
from array import array
from base64 import b64decode
from math import isclose, sqrt
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.simulator.conftest import Serve
from tests.simulator.serving import Answer, Served, get, post
from tests.simulator.test_shapes import PERSON

HELLO = "Simulated answer ef15eaf9: Hello"
TOOL = {"type": "function", "name": "f", "parameters": PERSON}
PAGES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "completions": {"prompt": "Hello"},
    "responses": {"input": "Hello"},
    "embeddings": {"input": "Hello"},
}
every_page = pytest.mark.parametrize("page", PAGES)


def ask(served: Served, page: str, **fields: Any) -> Answer:
    return served.ask(post(f"/v1/{page}", json.dumps({"model": "m", **PAGES[page], **fields})))


def good(served: Served, page: str, **fields: Any) -> Any:
    answer = ask(served, page, **fields)
    assert answer.status == 200, answer.body
    return answer.json


# --- alike ---------------------------------------------------------------------------------------------------------


@every_page
def test_a_call_takes_its_time_and_is_counted(serve: Serve, page: str) -> None:
    served = serve(latency="constant:5")
    assert ask(served, page).service_ms == 5
    metrics = served.run(served.metrics())
    assert metrics['service_seconds_bucket{le="0.005"}'] == 1
    assert metrics['tokens_total{kind="input"}'] == 2
    assert metrics['tokens_total{kind="output"}'] == (0 if page == "embeddings" else 8)


@every_page
def test_latencies_are_drawn_for_the_text_alone(serve: Serve, page: str) -> None:
    first = ask(serve(latency="lognormal:1,0.5", seed=7), page).service_ms
    assert ask(serve(latency="lognormal:1,0.5", seed=7), "chat/completions").service_ms == first


@pytest.mark.parametrize("page", [page for page in PAGES if page != "embeddings"])
@pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=["whole", "stream"])
def test_tokens_are_work_on_every_page(serve: Serve, page: str, fields: dict[str, Any]) -> None:
    assert ask(serve(tokens_per_second=1000.0), page, **fields).service_ms == 7  # the first one comes at once


@pytest.mark.parametrize("tokens", [None, 100_000.0])
def test_a_vector_has_no_tokens_to_wait_for(serve: Serve, tokens: float | None) -> None:
    assert ask(serve(latency="constant:3", tokens_per_second=tokens), "embeddings").service_ms == 3


@every_page
@pytest.mark.parametrize("kind", ["429", "truncated", "utf8", "content_type", "empty"])
def test_faults_are_met_on_every_page(serve: Serve, page: str, kind: str) -> None:
    served = serve(faults=f"{kind}:@1")
    spoiled, sound = ask(served, page), ask(served, page)
    assert spoiled.status == (429 if kind == "429" else 200)
    assert spoiled.body != sound.body
    if kind == "empty":
        (held,) = [name for name in ("choices", "output", "data") if name in spoiled.json]
        assert (spoiled.json[held], len(sound.json[held])) == ([], 1)
    if kind == "utf8":
        with pytest.raises(UnicodeDecodeError):
            spoiled.body.decode()
        assert (
            spoiled.body.decode(errors="ignore").keys() if False else json.loads(spoiled.body.decode(errors="ignore"))
        )


@every_page
def test_a_field_that_nobody_knows_is_named(serve: Serve, page: str) -> None:
    answer = ask(serve(), page, nonsense=1)
    assert (answer.status, answer.json["error"]["param"]) == (400, "nonsense")


@every_page
def test_a_page_is_for_post(serve: Serve, page: str) -> None:
    assert serve().ask(get(f"/v1/{page}").encode()).status == 405


# --- embeddings ----------------------------------------------------------------------------------------------------


def vectors(served: Served, **fields: Any) -> list[Any]:
    data = good(served, "embeddings", **fields)["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [item["embedding"] for item in data]


def test_a_vector_follows_from_its_text_and_has_length_1(serve: Serve) -> None:
    served = serve()
    first, second, again = vectors(served, input=["Hello", "Hullo", "Hello"])
    assert first == again != second
    assert [first] == vectors(served)
    assert len(first) == 1536
    for vector in (first, second):
        assert isclose(sqrt(sum(number * number for number in vector)), 1)


def test_fewer_dimensions_are_the_beginning_of_more(serve: Serve) -> None:
    served = serve()
    (long,), (short,) = vectors(served, dimensions=256), vectors(served, dimensions=3)
    assert isclose(sqrt(sum(number * number for number in short)), 1)
    assert all(isclose(a / short[0], b / long[0]) for a, b in zip(short, long[:3], strict=True))


def test_base64_holds_the_same_numbers(serve: Serve) -> None:
    served = serve()
    ((numbers,), (text,)) = vectors(served), vectors(served, encoding_format="base64")
    held = array("f", b64decode(text))
    assert held.tolist() == pytest.approx(numbers, abs=1e-7)


def test_tokens_are_embedded_too(serve: Serve) -> None:
    served = serve()
    (one,), (same, other) = vectors(served, input=[1, 2, 3]), vectors(served, input=[[1, 2, 3], [4]])
    assert one == same != other
    assert good(served, "embeddings", input=[[1, 2, 3], [4]])["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": None}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"stream": True}, "stream"),
    ],
)
def test_embeddings_that_are_refused(serve: Serve, fields: dict[str, Any], param: str) -> None:
    answer = ask(serve(), "embeddings", **fields)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


# --- completions ---------------------------------------------------------------------------------------------------


def test_each_prompt_has_its_choices(serve: Serve) -> None:
    answer = good(serve(), "completions", prompt=["Hello", "Ho"], n=2)
    texts = [choice["text"] for choice in answer["choices"]]
    assert (texts[0], len(set(texts))) == (HELLO, 4)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 3


@pytest.mark.parametrize("rate", [None, 100_000.0], ids=["whole", "paced"])
def test_a_completion_as_a_stream(serve: Serve, rate: float | None) -> None:
    served = serve(tokens_per_second=rate)
    answer = ask(served, "completions", stream=True, n=2, logprobs=1, stream_options={"include_usage": True})
    *chunks, usage, _ = answer.events
    assert "".join(c["choices"][0]["text"] for c in chunks if c["choices"][0]["index"] == 0) == HELLO
    assert usage["usage"]["completion_tokens"] == 16


def test_probabilities_of_a_completion(serve: Serve) -> None:
    logprobs = good(serve(), "completions", logprobs=2)["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == HELLO
    assert logprobs["text_offset"] == [0, 4, 8, 12, 16, 20, 24, 28]
    for token, logprob, top in zip(*(logprobs[n] for n in ("tokens", "token_logprobs", "top_logprobs")), strict=True):
        assert top[token] == logprob == max(top.values())


@pytest.mark.parametrize("field", [{"echo": True}, {"suffix": "."}, {"best_of": 3}, {"prompt": []}, {"prompt": [1]}])
def test_completions_that_are_refused(serve: Serve, field: dict[str, Any]) -> None:
    answer = ask(serve(), "completions", **field)
    assert answer.status == 400
    assert answer.json["error"]["param"].startswith(*field)


# --- responses -----------------------------------------------------------------------------------------------------


def test_a_response(serve: Serve) -> None:
    answer = good(serve(), "responses", instructions="Be terse.")
    (message,) = answer["output"]
    assert (answer["object"], answer["status"], message["role"]) == ("response", "completed", "assistant")
    text = "Simulated answer a1779243: Hello"  # what it is told is in the digest
    assert message["content"] == [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (3 + 2, 8)


def test_a_response_has_the_shape_of_its_schema(serve: Serve) -> None:
    served = serve()
    wanted = {"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}}
    answer = good(served, "responses", text=wanted)
    Draft202012Validator(PERSON).validate(json.loads(answer["output"][0]["content"][0]["text"]))
    assert answer["text"] == wanted
    cut = good(served, "responses", text=wanted, max_output_tokens=1)
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_a_response_calls_a_function_and_then_answers_in_words(serve: Serve) -> None:
    served = serve()
    answer = good(served, "responses", tools=[TOOL])
    (call,) = answer["output"]
    assert (call["type"], call["name"]) == ("function_call", "f")
    Draft202012Validator(PERSON).validate(json.loads(call["arguments"]))
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    after = [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}, call, result]
    assert good(served, "responses", tools=[TOOL], input=after)["output"][0]["type"] == "message"
    named = {"type": "function", "name": "f"}
    assert good(served, "responses", tools=[TOOL], input=after, tool_choice=named)["output"][0]["name"] == "f"


@pytest.mark.parametrize("rate", [None, 100_000.0], ids=["whole", "paced"])
@pytest.mark.parametrize("tools", [[], [TOOL, {**TOOL, "name": "g"}]], ids=["words", "calls"])
def test_a_response_as_a_stream(serve: Serve, rate: float | None, tools: list[Any]) -> None:
    served = serve(tokens_per_second=rate)
    fields = {"tools": tools, "parallel_tool_calls": True}
    whole = good(served, "responses", **fields)
    events = ask(served, "responses", stream=True, **fields).events
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")

    def without_ids(items: list[Any]) -> list[Any]:
        return [{key: value for key, value in item.items() if "id" not in key} for item in items]

    assert without_ids(events[-1]["response"]["output"]) == without_ids(whole["output"])
    assert events[-1]["response"]["usage"] == whole["usage"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    deltas = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
    assert deltas == ("".join(call["arguments"] for call in done) if tools else HELLO)
    count = sum(event["type"].endswith(".delta") for event in events)
    assert count == (whole["usage"]["output_tokens"] if rate else max(1, len(tools)))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": 5}}}}, "text.format.schema"),
        ({"tools": [{**TOOL, "parameters": {"$ref": "#/x"}}]}, "tools[0].parameters"),
    ],
)
def test_responses_that_are_refused(serve: Serve, fields: dict[str, Any], param: str) -> None:
    answer = ask(serve(), "responses", **fields)
    assert answer.status == 400
    assert answer.json["error"]["param"].startswith(param)
