"""Libraries built on the SDK, and other SDKs on httpx, on `apxm.transport()`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apxm.flows.flow import each, flow
from apxm.sdks.transport import transport
from tests.sdks.endpoint import Asked, Endpoint, Reply, as_json, completion, echo, together

_THEIRS = pytest.mark.filterwarnings("ignore")  # theirs are not ours to mend


def installed(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed")


# --- LangChain -----------------------------------------------------------------------------------------------------


@pytest.fixture
def model(endpoint: Endpoint) -> Any:
    langchain, httpx = installed("langchain_openai"), installed("httpx")
    client = httpx.Client(transport=transport())
    return langchain.ChatOpenAI(model="m", base_url=endpoint.url, api_key="any", max_retries=0, http_client=client)


MODEL: Any = None


@_THEIRS
def test_a_model_of_langchain_in_iterations(
    model: Any, endpoint: Endpoint, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "MODEL", model)

    @flow
    def invoking(rows: list[int]) -> list[str]:
        found: list[str] = []
        for row in each(rows):
            first = MODEL.invoke(f"label {row}").content
            found.append(MODEL.invoke(f"again {first}").content)
        return found

    endpoint.script = together(4)
    result = invoking.using(**told).run(range(4))
    assert result.value == [f"said again said label {row}" for row in range(4)]
    assert result.trace.executed == 8
    assert invoking.using(**told).resume(result.run_id, range(4)).trace.reused == 8


@_THEIRS
def test_a_chain_of_langchain_in_iterations(
    model: Any, endpoint: Endpoint, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    monkeypatch.setitem(globals(), "MODEL", ChatPromptTemplate.from_template("tell {of}") | model | StrOutputParser())

    @flow
    def chained(rows: list[int]) -> list[str]:
        return [MODEL.invoke({"of": f"{row}"}) for row in each(rows)]

    endpoint.script = together(3)
    assert chained.using(**told).run(range(3)).value == ["said tell 0", "said tell 1", "said tell 2"]


@_THEIRS
def test_a_chain_with_a_function_of_the_users_waits_for_its_turn(
    model: Any, endpoint: Endpoint, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def noted(text: str) -> str:
        seen.append(text)
        return f"{text} after {len(seen) - 1}"

    from langchain_core.runnables import RunnableLambda

    monkeypatch.setitem(globals(), "MODEL", RunnableLambda(noted) | model)

    @flow
    def chained(rows: list[int]) -> list[str]:
        return [MODEL.invoke(f"{row}").content for row in each(rows)]

    assert chained.using(**told).run(range(3)).value == ["said 0 after 0", "said 1 after 1", "said 2 after 2"]
    assert endpoint.prompts == ["0 after 0", "1 after 1", "2 after 2"]


# --- instructor ----------------------------------------------------------------------------------------------------


@_THEIRS
def test_instructor_asks_again_what_does_not_fit(client: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    instructor, pydantic = installed("instructor"), installed("pydantic")
    person = pydantic.create_model("Person", name=(str, ...), age=(int, ...))

    def script(asked: Asked) -> Reply:
        fits = len(asked.body["messages"]) > 1
        arguments = {"name": "Ada", "age": 36 if fits else "old"}
        called = {"id": "1", "type": "function", "function": {"name": "Person", "arguments": json.dumps(arguments)}}
        return completion("", tool_calls=[called])

    endpoint.script = script
    shaping = instructor.from_openai(client)

    @flow
    def shaped(rows: list[int]) -> list[Any]:
        found: list[Any] = []
        for row in each(rows):
            messages = [{"role": "user", "content": f"Who is {row}?"}]
            found.append(
                shaping.chat.completions.create(model="m", messages=messages, response_model=person, max_retries=2)
            )
        return found

    result = shaped.using(**told).run(range(3))
    assert [made.age for made in result.value or ()] == [36] * 3
    assert result.trace.executed == 6
    assert result.metrics.work_span.speedup > 0
    levels = [node.after for node in result.trace.program.plans[0].nodes]
    assert sorted(map(len, levels)) == [0, 0, 0, 1, 1, 1], "they did not wait for each other"


# --- other SDKs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_any_client_of_httpx(library: str, endpoint: Endpoint, told: dict[str, Any]) -> None:
    httpx = installed(library)
    usage = {"input_tokens": 11, "output_tokens": 5}
    endpoint.script = lambda asked: as_json({"content": [{"text": asked.prompt}], "usage": usage})
    client = httpx.Client(transport=transport(), headers={"x-api-key": "sk-of-the-test"})

    @flow
    def messages(rows: list[int]) -> list[str]:
        found: list[str] = []
        for row in each(rows):
            body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": f"{row}"}]}
            found.append(client.post(f"{endpoint.url}/messages", json=body).json()["content"][0]["text"])
        return found

    result = messages.using(**told).run(range(3))
    assert result.value == ["0", "1", "2"]
    assert {node.operation for node in result.trace.program.plans[0].nodes} == {"messages"}
    assert (result.metrics.llm.total_input_tokens, result.metrics.llm.total_output_tokens) == (33, 15)
    assert endpoint.asked[0].headers["x-api-key"] == "sk-of-the-test"


def test_a_client_of_a_class_that_is_not_known_waits_for_its_turn(endpoint: Endpoint, told: dict[str, Any]) -> None:
    class Completions:
        def __init__(self) -> None:
            self.count = 0

        def create(self, text: str) -> str:
            self.count += 1
            return f"{text} {self.count}"

    class Fake:
        chat: Any = None

    fake = Fake()
    fake.chat = Fake()
    fake.chat.completions = Completions()  # type: ignore[attr-defined]
    endpoint.script = echo

    @flow
    def counted(rows: list[int]) -> list[str]:
        return [fake.chat.completions.create(f"{row}") for row in each(rows)]

    assert counted.using(**told).run(range(3)).value == ["0 1", "1 2", "2 3"]
