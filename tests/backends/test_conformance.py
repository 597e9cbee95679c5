"""What every backend promises, whatever its kind. A new kind is one more entry in `KINDS`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import cast

import pytest

from apxm.backends.openai import OpenAIBackend
from apxm.backends.protocol import AnyBackend, CoroutineBackend, Handle, Limits, ModelAnswer, ModelRequest, Usage
from apxm.backends.recording import Recorded, Recording
from apxm.backends.registry import DeferredBackend
from apxm.backends.replay import ReplayBackend
from apxm.backends.settings import OpenAISettings
from apxm.backends.simulated import SimulatedBackend
from apxm.errors import BackendError
from apxm.testing import ScriptedBackend
from tests.servers import Received, Reply, Server, as_json, completion

PATIENCE_S = 20


class LoopClock:
    """Real time, as a run has it."""

    def now(self) -> int:
        return perf_counter_ns()

    def call_at(self, when: int, callback: Callable[[], None]) -> Handle:
        return asyncio.get_running_loop().call_later(max(0, when - perf_counter_ns()) / 1e9, callback)


@asynccontextmanager
async def simulated() -> AsyncIterator[AnyBackend]:
    yield SimulatedBackend(
        name="b", latency="constant:1", slowdown="usl:0.01,0", limits=Limits(timeout_s=5, max_concurrency=3)
    )


@asynccontextmanager
async def scripted() -> AsyncIterator[AnyBackend]:
    yield ScriptedBackend(name="b", latency_ms=lambda _: 1, timeout_s=5, max_concurrency=3)


def _serve(request: Received) -> Reply:
    return completion("About " + request.json["messages"][-1]["content"])


@asynccontextmanager
async def openai() -> AsyncIterator[AnyBackend]:
    async with Server(_serve) as server:
        yield OpenAIBackend("b", _settings(server), {})


@asynccontextmanager
async def deferred() -> AsyncIterator[AnyBackend]:
    async with Server(_serve) as server:
        made = OpenAIBackend("b", _settings(server), {})
        yield DeferredBackend(made.info, _settings(server).limits, lambda: made)


@asynccontextmanager
async def replay() -> AsyncIterator[AnyBackend]:
    with TemporaryDirectory() as folder:
        async with openai() as real:
            yield ReplayBackend("b", f"{folder}/answers.jsonl", cast(CoroutineBackend, real))


@asynccontextmanager
async def replay_alone() -> AsyncIterator[AnyBackend]:
    """One that has only answers, to whatever is asked here, and no backend behind it."""
    with TemporaryDirectory() as folder:
        recording = Recording(f"{folder}/answers.jsonl")
        recording.read_or_make()
        for prompt in ("Task A", *(f"Task {i}." for i in range(50))):
            for request in (ModelRequest(prompt), ModelRequest(prompt, "Be brief.", None, "n", 0.0, 100)):
                recording.add(Recorded("", request, ModelAnswer(f"About {prompt}", Usage(1, 2))))
        alone = ReplayBackend("b", recording.path)
        alone.limits = Limits(timeout_s=5, max_concurrency=3)
        yield alone


@asynccontextmanager
async def failing() -> AsyncIterator[AnyBackend]:
    async with Server(as_json({"error": "no"}, 500)) as server:
        yield OpenAIBackend("b", _settings(server), {})


def _settings(server: Server) -> OpenAISettings:
    return OpenAISettings(model="m", endpoint=server.endpoint, timeout_s=5, max_concurrency=3)


KINDS = [simulated, scripted, openai, deferred, replay, replay_alone]
Make = Callable[[], AbstractAsyncContextManager[AnyBackend]]


async def ask(backend: AnyBackend, request: ModelRequest) -> ModelAnswer:
    """One call in either style."""
    if not hasattr(backend, "begin"):
        return await backend.call(request)
    outcome: asyncio.Future[ModelAnswer | BackendError] = asyncio.get_running_loop().create_future()
    backend.begin(request, LoopClock(), outcome.set_result)
    assert not outcome.done(), "done must not be called inside begin"
    answer = await outcome
    if isinstance(answer, BackendError):
        raise answer
    return answer


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def run(make: Make, *requests: ModelRequest) -> list[ModelAnswer]:
    async def run() -> list[ModelAnswer]:
        async with make() as backend, asyncio.timeout(PATIENCE_S):
            try:
                return await asyncio.gather(*(ask(backend, request) for request in requests))
            finally:
                await backend.close()

    return asyncio.run(run())


def test_it_answers_the_prompt_and_counts_tokens(make: Make) -> None:
    (answer,) = run(make, ModelRequest("Task A", system="Be brief.", model="n", temperature=0.0, max_tokens=100))
    assert "Task A" in answer.text
    assert answer.usage.input_tokens
    assert answer.usage.output_tokens
    assert answer.service_ns is None or answer.service_ns >= 0


def test_each_of_many_calls_at_once_gets_its_own_answer(make: Make) -> None:
    answers = run(make, *(ModelRequest(f"Task {i}.") for i in range(50)))
    assert [f"Task {i}." in answer.text for i, answer in enumerate(answers)] == [True] * 50


def test_it_says_who_it_is_and_what_its_limits_are(make: Make) -> None:
    async def run() -> None:
        async with make() as backend:
            assert (backend.info.name, backend.limits.max_concurrency, backend.limits.timeout_s) == ("b", 3, 5)
            assert backend.info.simulated == (backend.info.endpoint is None)
            assert backend.can_reason is False
            await backend.close()

    asyncio.run(run())


def test_it_can_be_closed_unused_and_twice(make: Make) -> None:
    async def run() -> None:
        async with make() as backend:
            await backend.close()
            await backend.close()

    asyncio.run(run())


def test_a_failure_is_a_backend_error() -> None:
    with pytest.raises(BackendError) as caught:
        run(failing, ModelRequest("Hi"))
    assert caught.value.retryable
