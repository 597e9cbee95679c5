"""Calls of an SDK in a run that is told to simulate: nobody is asked, and every kind of call is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from apxm.flows.flow import each, flow
from apxm.runtime.loops import run_virtually
from tests.sdks.endpoint import Endpoint

pydantic = pytest.importorskip("pydantic")
CLIENT: Any = None


class Person(pydantic.BaseModel):
    name: str
    age: int


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@flow
def asking(client: Any, rows: list[int]) -> list[Any]:
    found: list[Any] = []
    for row in each(rows):
        said = [{"role": "user", "content": f"{row}"}]
        chat = client.chat.completions
        streamed = "".join(
            piece.choices[0].delta.content or "" for piece in chat.create(model="m", messages=said, stream=True)
        )
        person = chat.parse(model="m", messages=said, response_format=Person).choices[0].message.parsed
        called = chat.create(model="m", messages=said, tools=[TOOL]).choices[0].message.tool_calls
        vector = client.embeddings.create(model="m", input="a", dimensions=2).data[0].embedding
        answer = client.responses.create(model="m", input=f"{row}").output_text
        found.append((streamed, type(person), called[0].function.name, len(vector), answer))
    return found


def test_every_kind_of_call_is_simulated(client: Any, endpoint: Endpoint) -> None:
    result = asking.using(backend="simulated", latency="constant:1").run(client, range(3))
    echo = "Simulated answer {}: {}"
    assert [found[1:4] for found in result.value] == [(Person, "look", 2)] * 3
    assert all(found[0] == found[4] == echo.format(found[0][17:25], row) for row, found in enumerate(result.value))
    assert not endpoint.asked
    assert {node.operation for node in result.trace.program.plans[0].nodes} == {
        "chat.completions", "embeddings", "responses",
    }  # fmt: skip


def test_they_take_virtual_time(client: Any) -> None:
    """So a script of SDK calls is checked and predicted in no time."""

    @flow
    def slow(rows: list[int]) -> list[str]:
        found: list[str] = []
        for row in each(rows):
            said = [{"role": "user", "content": f"{row}"}]
            found.append(client.chat.completions.create(model="m", messages=said).choices[0].message.content)
        return found

    result = run_virtually(slow.using(backend="simulated", latency="constant:500000").run_async(range(5)))
    assert len(result.value) == 5
    assert result.trace.ended - result.trace.started == 500 * 10**9


def test_a_simulated_endpoint_that_refuses(client: Any) -> None:
    @flow
    def refused() -> None:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}], n=1000)

    with pytest.raises(openai.BadRequestError):
        refused.using(backend="simulated").run()


def test_simulated_faults_are_tried_again(client: Any) -> None:
    result = asking.using(backend="simulated", latency="constant:1", faults="500:@1").run(client, [1])
    assert len(result.value) == 1
    assert sum(len(operation.attempts) for operation in result.trace.operations) == result.trace.executed + 1


def test_a_run_that_may_ask_anybody_is_journaled(client: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    @flow
    def once() -> str:
        said = [{"role": "user", "content": "hello"}]
        return client.chat.completions.create(model="m", messages=said).choices[0].message.content

    result = once.using(journal_dir=tmp_path).run()
    assert once.using(journal_dir=tmp_path).resume(result.run_id).value == "said hello"
    assert len(endpoint.asked) == 1
    assert [operation.backend for operation in result.trace.operations] == [endpoint.url]
