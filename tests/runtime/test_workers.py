"""Which tasks the calls of a coroutine backend run in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from apxm.backends.protocol import BackendInfo, Limits, ModelAnswer, ModelRequest
from apxm.errors import OperationError
from apxm.program.program import Program
from apxm.runtime.handlers.table import LoadedProgram
from apxm.runtime.limits import BackendPool
from apxm.runtime.scheduler import Run
from apxm.runtime.trace import Trace
from apxm.testing import run_virtually
from tests.plans import ask, give, merge, plan, program


class Recording:
    """A coroutine backend that notes which task each call ran in."""

    limits = Limits(retries=0)
    can_reason = False
    info = BackendInfo(name="b", kind="recording", model="m", simulated=True)

    def __init__(self, work: Callable[[ModelRequest], Awaitable[object]]) -> None:
        self.work = work
        self.tasks: list[asyncio.Task[object]] = []
        self.in_flight = self.most = 0

    async def call(self, request: ModelRequest) -> ModelAnswer:
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling(), "a task that was cancelled has no further calls"
        self.tasks.append(task)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self.work(request)
        finally:
            self.in_flight -= 1
        return ModelAnswer(request.prompt)

    async def close(self) -> None: ...


async def at_once(_request: ModelRequest) -> None:
    pass


async def a_second(_request: ModelRequest) -> None:
    await asyncio.sleep(1)


def fan_out(count: int) -> Program:
    return program(plan(*[ask(f"Task {i}") for i in range(count)], merge(*range(count)), give(count)))


def chain(count: int) -> Program:
    return program(plan(ask("Task"), *[ask(i) for i in range(count - 1)], give(count - 1)))


async def run(p: Program, backend: Recording) -> Trace:
    trace = await Run(LoadedProgram(p), p.flows[0], (), BackendPool({"b": backend}, "b")).execute()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "no task outlives the run"
    return trace


@pytest.mark.parametrize("shape", [fan_out, chain])
def test_calls_that_return_at_once_share_a_task(shape: Callable[[int], Program]) -> None:
    backend = Recording(at_once)
    trace = run_virtually(run(shape(100), backend))
    assert not trace.failures
    assert len(backend.tasks) == 100
    assert len(set(backend.tasks)) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_calls_that_wait_are_all_in_flight_at_the_same_instant(count: int) -> None:
    backend = Recording(a_second)
    trace = run_virtually(run(fan_out(count), backend))
    assert trace.duration == 1_000_000_000
    assert backend.most == count
    assert len(set(backend.tasks)) == count


def test_their_tasks_are_made_in_doubling_numbers() -> None:
    turns = 0

    async def main() -> None:
        def count() -> None:
            nonlocal turns
            turns += 1
            if backend.in_flight < 100:
                loop.call_soon(count)

        backend = Recording(a_second)
        loop = asyncio.get_running_loop()
        loop.call_soon(count)
        await run(fan_out(100), backend)

    run_virtually(main())
    assert turns <= 10


def test_a_call_that_waits_takes_over_where_its_predecessor_waited() -> None:
    backend = Recording(a_second)
    assert run_virtually(run(chain(5), backend)).duration == 5_000_000_000
    assert len(set(backend.tasks)) == 1


def test_a_call_that_waits_holds_up_none_of_those_that_do_not() -> None:
    async def work(request: ModelRequest) -> None:
        if request.prompt == "Task 3":
            await asyncio.sleep(1)

    backend = Recording(work)
    trace = run_virtually(run(fan_out(50), backend))
    assert sorted(record.routed for record in trace.operations) == [0] * 49 + [1_000_000_000]


def test_the_task_of_a_call_that_timed_out_ends_with_it() -> None:
    backend = Recording(a_second)
    # The second call can only begin when the first has failed: `assert not task.cancelling()` sees to the rest.
    backend.limits = Limits(max_concurrency=1, timeout_s=0.5, retries=0)
    trace = run_virtually(run(fan_out(2), backend))
    assert [f.kind for f in trace.failures] == ["timeout", "timeout"]
    assert len(set(backend.tasks)) == 2


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("oops"), OperationError("refused", "no"), asyncio.CancelledError()]
)
def test_a_call_that_fails_leaves_its_task_to_the_next(error: BaseException) -> None:
    async def work(request: ModelRequest) -> None:
        if request.prompt == "Task 0":
            raise error

    backend = Recording(work)
    trace = run_virtually(run(fan_out(3), backend))
    assert len(trace.failures) == 1
    assert len(backend.tasks) == 3


def test_calls_that_never_wait_let_everything_else_have_its_turn() -> None:
    """On real time, with calls that take some: a chain of them must not keep timers and signals from the loop."""
    turns: list[int] = []

    async def main() -> None:
        def note() -> None:
            turns.append(len(backend.tasks))
            loop.call_soon(note)

        async def work(_request: ModelRequest) -> None:
            end = loop.time() + 0.002
            while loop.time() < end:
                pass

        backend = Recording(work)
        loop = asyncio.get_running_loop()
        loop.call_soon(note)
        p = chain(10)
        await Run(LoadedProgram(p), p.flows[0], (), BackendPool({"b": backend}, "b")).execute()

    asyncio.run(main())
    assert {1, 2, 3, 4, 5, 6, 7, 8, 9} <= set(turns)
