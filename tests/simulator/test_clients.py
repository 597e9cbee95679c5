"""The clients that people use, against a simulator in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import ModelRequest, Usage
from apxm.backends.settings import OpenAISettings
from apxm.errors import BackendError
from apxm.simulator.process import SimulatorProcess, start_simulator

HELLO = "Simulated answer a1779243: Hello"  # what it is told by its system text is in the digest
MESSAGES = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hello"}]
NOT_INSTALLED = "not installed: pip install 'apxm[bench]'"


@pytest.fixture(scope="module", params=[None, 10_000.0], ids=["whole", "paced"])
def simulator(request: pytest.FixtureRequest) -> Generator[SimulatorProcess]:
    with start_simulator(latency="constant:2", tokens_per_second=request.param) as started:
        yield started


def test_our_own_backend(simulator: SimulatorProcess) -> None:
    async def scenario() -> None:
        settings = OpenAISettings(model="m", endpoint=simulator.endpoint, api_key="any")
        backend = OpenAIBackend("local", settings, {})
        answers = await asyncio.gather(
            *(backend.call(ModelRequest(prompt="Hello", system="Be terse.")) for _ in range(20))
        )
        for answer in answers:
            assert (answer.text, answer.model, answer.usage) == (HELLO, "m", Usage(3 + 2, 8))
            assert answer.service_ns is not None
            assert answer.service_ns >= 2_000_000
        with pytest.raises(BackendError, match=r"400 Bad Request.*'max_tokens'"):
            await backend.call(ModelRequest(prompt="Hello", max_tokens=0))
        await backend.close()

    asyncio.run(scenario())


def test_the_openai_sdk(simulator: SimulatorProcess) -> None:
    openai = pytest.importorskip("openai", reason=NOT_INSTALLED)
    with openai.OpenAI(base_url=simulator.endpoint, api_key="any", max_retries=0) as client:
        completion = client.chat.completions.create(model="m", messages=MESSAGES)
        assert completion.choices[0].message.content == HELLO
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage.total_tokens == 3 + 2 + 8
        assert [model.id for model in client.models.list()] == ["simulated"]
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="m", messages=[])
        assert refused.value.param == "messages"
        with pytest.raises(openai.NotFoundError):
            client.images.generate(model="m", prompt="Hello")


def test_the_openai_sdk_streaming(simulator: SimulatorProcess) -> None:
    openai = pytest.importorskip("openai", reason=NOT_INSTALLED)
    with openai.OpenAI(base_url=simulator.endpoint, api_key="any", max_retries=0) as client:
        *chunks, last = client.chat.completions.create(
            model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == HELLO
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage.total_tokens == 3 + 2 + 8


def test_the_openai_sdk_with_many_calls_at_once(simulator: SimulatorProcess) -> None:
    openai = pytest.importorskip("openai", reason=NOT_INSTALLED)

    async def scenario() -> None:
        # By itself it gives a connection five seconds, which is what a busy machine can take for fifty at once.
        async with openai.AsyncOpenAI(
            base_url=simulator.endpoint, api_key="any", max_retries=0, timeout=60.0
        ) as client:
            calls = (client.chat.completions.create(model="m", messages=MESSAGES) for _ in range(50))
            for completion in await asyncio.gather(*calls):
                assert completion.choices[0].message.content == HELLO

    asyncio.run(scenario())


def test_langchain(simulator: SimulatorProcess) -> None:
    langchain = pytest.importorskip("langchain_openai", reason=NOT_INSTALLED)

    async def scenario() -> None:
        model = langchain.ChatOpenAI(
            model="m", base_url=simulator.endpoint, api_key="any", max_retries=0, stream_usage=True
        )
        answer = await model.ainvoke(MESSAGES)
        assert answer.content == HELLO
        assert answer.usage_metadata["output_tokens"] == 8
        assert answer.response_metadata["finish_reason"] == "stop"

        streamed = [chunk async for chunk in model.astream(MESSAGES)]
        assert "".join(chunk.content for chunk in streamed) == HELLO
        assert sum(chunk.usage_metadata["output_tokens"] for chunk in streamed if chunk.usage_metadata) == 8
        await model.root_async_client.close()

    asyncio.run(scenario())
