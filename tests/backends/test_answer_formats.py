"""How the openai backend asks for an answer of a type, and how it finds out what its endpoint takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import SCHEMA_REFUSED, ModelAnswer, ModelRequest
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError
from apxm.operations.schemas import INSTRUCTION, answer_format
from apxm.operations.types import INT, JSON
from tests.servers import Received, Reply, Server, as_json, completion

NUMBER = answer_format(INT)
REQUEST = ModelRequest("How many?", system="Be brief.", answer=NUMBER)
TOLD = f"Be brief.\n\n{INSTRUCTION}\n{NUMBER.schema}"


def calls(
    script: Callable[[Received], Reply] | Reply, *requests: ModelRequest, backends: int = 1, **settings: Any
) -> tuple[list[str | None], list[Any]]:
    """The kind of error that each request ends with, one after the other, and the bodies that the endpoint got; the
    backends, all of one configuration, take turns."""

    async def run() -> tuple[list[str | None], list[Any]]:
        async with Server(script) as server:
            configured = OpenAISettings(**{"model": "tiny", "endpoint": server.endpoint, **settings})
            clients = [OpenAIBackend("local", configured, {}) for _ in range(backends)]
            kinds: list[str | None] = []
            for number, request in enumerate(requests):
                try:
                    assert isinstance(await clients[number % backends].call(request), ModelAnswer)
                    kinds.append(None)
                except BackendError as error:
                    kinds.append(error.kind)
            return kinds, [received.json for received in server.received]

    return asyncio.run(run())


def system_of(body: Any) -> str:
    return body["messages"][0]["content"]


def format_of(body: Any) -> str | None:
    return body.get("response_format", {}).get("type")


def refusing(message: str, status: int = 400, **error: Any) -> Callable[[Received], Reply]:
    """An endpoint that takes no schema, and says so."""

    def script(request: Received) -> Reply:
        if "response_format" in request.json:
            return as_json({"error": {"message": message, **error}}, status)
        return completion("5")

    return script


def test_the_schema_goes_out_as_the_format_of_the_response() -> None:
    _, [body] = calls(completion("5"), REQUEST)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "int", "schema": json.loads(NUMBER.schema), "strict": True},
    }
    assert system_of(body) == "Be brief."


def test_what_may_hold_any_json_is_not_asked_for_strictly() -> None:
    _, [body] = calls(completion("5"), ModelRequest("x", answer=answer_format(JSON)))
    assert body["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(
    ("message", "status", "error"),
    [
        ("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", 400, {}),
        ("Unsupported parameter", 400, {"param": "response_format"}),
        ('response_format type must be one of "text" or "json_object", but got: json_schema', 500, {}),
        ("Extra inputs are not permitted", 422, {"loc": ["body", "response_format", "json_schema"]}),
        ("Structured outputs are not implemented", 501, {}),
        ("Failed to initialize samplers: std::exception", 400, {}),  # llama.cpp, where it can make no grammar
    ],
)
def test_a_refusal_is_remembered_and_the_model_told_in_words(message: str, status: int, error: Any) -> None:
    kinds, bodies = calls(refusing(message, status, **error), REQUEST, REQUEST, REQUEST, backends=2)
    assert kinds == [SCHEMA_REFUSED, None, None]
    assert [format_of(body) for body in bodies] == ["json_schema", None, None]
    assert [system_of(body) for body in bodies] == ["Be brief.", TOLD, TOLD]


def test_it_is_remembered_of_one_model_alone() -> None:
    other = ModelRequest("How many?", model="other", answer=NUMBER)
    kinds, bodies = calls(refusing("no response_format"), REQUEST, other, other, REQUEST)
    assert kinds == [SCHEMA_REFUSED, SCHEMA_REFUSED, None, None]
    assert [format_of(body) for body in bodies] == ["json_schema", "json_schema", None, None]


def test_calls_that_are_under_way_all_ask_and_those_that_begin_later_do_not() -> None:
    async def run() -> None:
        async with Server(refusing("no response_format")) as server:
            backend = OpenAIBackend("local", OpenAISettings(model="tiny", endpoint=server.endpoint), {})
            first = await asyncio.gather(*(backend.call(REQUEST) for _ in range(5)), return_exceptions=True)
            assert {error.kind for error in first if isinstance(error, BackendError)} == {SCHEMA_REFUSED}
            await asyncio.gather(*(backend.call(REQUEST) for _ in range(5)))
            assert [format_of(received.json) for received in server.received] == ["json_schema"] * 5 + [None] * 5

    asyncio.run(run())


@pytest.mark.parametrize("reply", [as_json({"error": "bad temperature"}, 400), as_json({"error": "grammar"}, 401)])
def test_another_error_says_nothing_of_schemas(reply: Reply) -> None:
    kinds, bodies = calls(reply, REQUEST, REQUEST)
    assert kinds == ["http_status", "http_status"]
    assert [format_of(body) for body in bodies] == ["json_schema", "json_schema"]


def test_a_call_that_sent_none_is_refused_for_another_reason() -> None:
    kinds, _ = calls(as_json({"error": "no response_format"}, 400), ModelRequest("Hi"))
    assert kinds == ["http_status"]


def test_a_configuration_may_know_better() -> None:
    kinds, [body] = calls(completion("5"), REQUEST, structured="instruction")
    assert (kinds, format_of(body), system_of(body)) == ([None], None, TOLD)
    kinds, bodies = calls(refusing("no response_format"), REQUEST, REQUEST, structured="schema")
    assert kinds == ["http_status", "http_status"]
    assert [format_of(body) for body in bodies] == ["json_schema", "json_schema"]


def test_a_body_of_the_configuration_gives_way() -> None:
    body = {"response_format": {"type": "json_object"}}
    _, [shaped, free] = calls(completion("5"), REQUEST, ModelRequest("Hi"), body=body)
    assert (format_of(shaped), format_of(free)) == ("json_schema", "json_object")
