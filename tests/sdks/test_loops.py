"""Event loops of the user's own in a flow: they wait beside everything else, and what is asked in them is the run's."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from apxm.api import RunFailed
from apxm.errors import UsageError
from apxm.flows.asking import ask
from apxm.flows.flow import each, flow
from apxm.lanes.marks import pure
from apxm.sdks.transport import transport
from tests.sdks.endpoint import DONE, WAIT_S, Asked, Endpoint, Reply, as_json, chunk, echo, events, together


@pytest.fixture
def clients(endpoint: Endpoint) -> Any:
    """Makes a client: one that is closed belongs to one event loop."""
    from apxm.openai import AsyncOpenAI

    return lambda: AsyncOpenAI(base_url=endpoint.url, api_key="sk-of-the-test", max_retries=1)


async def said(client: Any, prompt: str) -> str:
    messages = [{"role": "user", "content": prompt}]
    return (await client.chat.completions.create(model="m", messages=messages)).choices[0].message.content


async def twice(client: Any, row: int) -> str:
    return await said(client, f"again {await said(client, f'{row}')}")


@flow
def gathering(clients: Any, rows: list[int]) -> list[str]:
    async def main() -> list[str]:
        async with clients() as client:
            return await asyncio.gather(*(twice(client, row) for row in rows))

    return asyncio.run(main())


def test_what_is_gathered_in_a_flow_is_asked_at_once(clients: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    endpoint.script = together(4)
    result = gathering.using(**told).run(clients, range(4))
    assert result.value == [f"said again said {row}" for row in range(4)]
    assert result.trace.executed == 8
    paths = [node.path for node in result.trace.program.names.plans[0].nodes]
    assert len(set(paths)) == 8
    assert all(path.startswith(f"said:{said.__code__.co_firstlineno + 2}~") for path in paths)


def test_it_goes_on_in_whatever_order_the_answers_come(clients: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    endpoint.script = together(4)
    result = gathering.using(**told).run(clients, range(4))
    asked = len(endpoint.asked)
    again = gathering.using(**told).resume(result.run_id, clients, list(range(4))[::-1])
    assert again.value == list(reversed(result.value))
    assert len(endpoint.asked) == asked


@pure
def gathered(clients: Any, row: int) -> str:
    async def main() -> str:
        async with clients() as client:
            return await twice(client, row)

    return asyncio.run(main())


def test_event_loops_of_iterations_wait_beside_each_other(
    clients: Any, endpoint: Endpoint, told: dict[str, Any]
) -> None:
    endpoint.script = together(4)

    @flow
    def each_its_own(rows: list[int]) -> list[str]:
        return [gathered(clients, row) for row in each(rows)]

    result = each_its_own.using(**told).run(range(4))
    assert result.value == [f"said again said {row}" for row in range(4)]
    assert result.trace.executed == 8


def test_what_else_an_event_loop_waits_for(told: dict[str, Any]) -> None:
    both = threading.Barrier(2, timeout=WAIT_S)

    @pure
    def waiting() -> list[object]:
        async def main() -> list[object]:
            reader, writer = await asyncio.open_connection(*address)
            await asyncio.sleep(0.001)
            await asyncio.to_thread(both.wait)
            found = await asyncio.wait_for(reader.readexactly(2), 30)
            writer.close()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(60), 0.001)
            return [found, ask("hello")]

        return asyncio.run(main())

    @flow
    def two() -> list[object]:
        return [waiting() for _ in each(range(2))]

    async def hello(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi")
        writer.close()

    ready, address, stopping = threading.Event(), list[Any](), list[Any]()

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
            address.extend(server.sockets[0].getsockname()[:2])
            stopping.append(lambda: loop.call_soon_threadsafe(stop.set))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(WAIT_S)
    try:
        result = two.using(backend="simulated", latency="constant:1", journal_dir=told["journal_dir"]).run()
    finally:
        stopping[0]()
        thread.join()
    assert [found[0] for found in result.value or ()] == [b"hi"] * 2


def test_no_event_loop_runs_as_a_flow_sees_it(told: dict[str, Any]) -> None:
    seen: list[object] = []

    async def looking() -> AsyncGenerator[object]:
        yield asyncio.get_running_loop()

    @flow
    def inside() -> None:
        hooks = sys.get_asyncgen_hooks()

        async def main() -> None:
            async for loop in looking():
                ask("parked inside of an event loop")
                assert asyncio.get_running_loop() is loop
                assert asyncio.current_task() is not None

        for _ in each(range(3)):
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            ask("between")
            asyncio.run(main())
        assert sys.get_asyncgen_hooks() == hooks

    async def outside() -> None:
        loop, hooks = asyncio.get_running_loop(), sys.get_asyncgen_hooks()
        await inside.using(backend="simulated", latency="constant:1", journal_dir=told["journal_dir"]).run_async()
        assert asyncio.get_running_loop() is loop
        assert sys.get_asyncgen_hooks() == hooks
        seen.append(loop)

    asyncio.run(outside())
    assert seen


def test_a_run_that_ends_closes_what_its_event_loops_have_begun(
    clients: Any, endpoint: Endpoint, told: dict[str, Any]
) -> None:
    held = threading.Event()
    endpoint.script = lambda _: Reply(lost=held.wait(WAIT_S))
    ended: list[str] = []

    async def patient(client: Any) -> None:
        try:
            await said(client, "hello")
        finally:
            ended.append("finally")

    @flow
    def waiting() -> None:
        async def main() -> None:
            async with clients() as client:
                await asyncio.gather(patient(client), patient(client))

        asyncio.run(main())

    with pytest.raises(RunFailed, match="time"):
        waiting.using(**told, timeout_s=0.1).run()
    held.set()
    assert ended == ["finally", "finally"]


def test_a_call_that_is_cancelled_is_given_up(clients: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    held = threading.Event()

    def script(asked: Asked) -> Reply:
        if asked.prompt == "slow":
            held.wait(WAIT_S)
        return echo(asked)

    endpoint.script = script

    @flow
    def impatient() -> list[str]:
        async def main() -> list[str]:
            async with clients() as client:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(said(client, "slow"), 0.1)
                return [await said(client, "quick")]

        return asyncio.run(main())

    result = impatient.using(**told).run()
    held.set()
    assert result.value == ["said quick"]
    assert result.trace.executed == 1


def test_streams_in_an_event_loop(clients: Any, endpoint: Endpoint, told: dict[str, Any]) -> None:
    all_here = threading.Barrier(3, timeout=WAIT_S)

    def pieces(prompt: str) -> Any:
        yield chunk(prompt)
        all_here.wait()
        yield chunk("!")
        yield DONE

    endpoint.script = lambda asked: events(pieces(asked.prompt))

    async def heard(client: Any, row: int) -> str:
        messages = [{"role": "user", "content": f"{row}"}]
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
        return "".join([piece.choices[0].delta.content async for piece in stream])

    @flow
    def listening() -> list[str]:
        async def main() -> list[str]:
            async with clients() as client:
                return await asyncio.gather(*(heard(client, row) for row in range(3)))

        return asyncio.run(main())

    result = listening.using(**told).run()
    assert result.value == ["0!", "1!", "2!"]
    assert listening.using(**told).resume(result.run_id).value == result.value
    assert len(endpoint.asked) == 3


def test_a_loop_that_cannot_let_others_go_on_still_works(clients: Any, told: dict[str, Any]) -> None:
    uvloop = pytest.importorskip("uvloop")

    @flow
    def elsewhere(rows: list[int]) -> list[str]:
        async def main() -> list[str]:
            async with clients() as client:
                return await asyncio.gather(*(twice(client, row) for row in rows))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())

    result = elsewhere.using(**told).run(range(3))
    assert result.value == [f"said again said {row}" for row in range(3)]
    assert result.trace.executed == 6


def test_an_event_loop_outside_of_a_run(clients: Any, endpoint: Endpoint) -> None:
    replies = [as_json({}, 500)]
    endpoint.script = lambda asked: replies.pop() if replies else echo(asked)

    async def main() -> list[Any]:
        async with clients() as client:
            answers = await asyncio.gather(*(said(client, f"{row}") for row in range(3)))
            endpoint.script = lambda _: events([chunk("one"), DONE])
            stream = await client.chat.completions.create(model="m", messages=[], stream=True)
            return [*answers, [piece.choices[0].delta.content async for piece in stream]]

    assert asyncio.run(main()) == ["said 0", "said 1", "said 2", ["one"]]
    assert len(endpoint.asked) == 5, "the SDK has tried one again by itself"


def test_a_transport_says_what_it_is_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="given a PosixPath of pathlib"):
        transport().handle_request(tmp_path)
