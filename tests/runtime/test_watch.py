"""Handlers that keep the event loop busy are named, and nobody else is."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import pytest

import apxm
from apxm.backends.protocol import AnyBackend, BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest
from apxm.runtime.limits import BackendPool
from apxm.runtime.watch import WATCH

BUSY_S = 0.2
"""Four times the limit, so that a machine under load sees it too."""


class Handler:
    """Coroutine style; `work` is done in the loop's own thread, behind `waits` turns of it."""

    limits = Limits()
    can_reason = False
    info = BackendInfo(name="handler", kind="test", model="m")

    def __init__(self, work: Callable[[str], object], waits: int = 0) -> None:
        self.work = work
        self.waits = waits

    async def call(self, request: ModelRequest) -> ModelAnswer:
        for _ in range(self.waits):
            await asyncio.sleep(0)
        self.work(request.prompt)
        return ModelAnswer("done")

    async def close(self) -> None: ...


class Callback:
    """Callback style; `work` is done before a call has begun."""

    limits = Limits()
    can_reason = False
    info = BackendInfo(name="handler", kind="test", model="m")

    def __init__(self, work: Callable[[str], object]) -> None:
        self.work = work

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        self.work(request.prompt)
        return clock.call_at(clock.now(), lambda: done(ModelAnswer("done")))

    async def close(self) -> None: ...


def compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def warnings_of(backend: AnyBackend, caplog: pytest.LogCaptureFixture, calls: int = 20) -> list[str]:
    lines = "\n".join(f'ask("Task {i}") -> step{i} print(step{i})' for i in range(calls))
    program = apxm.compile_text(f"agent A {{ @entry flow f() {{\n{lines}\n}} }}")
    with caplog.at_level(logging.WARNING, "apxm"):
        apxm.run(program, backends=BackendPool({"handler": backend}, "handler"))
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("work", [time.sleep, compute])
@pytest.mark.parametrize("waits", [0, 3])
def test_a_coroutine_that_keeps_the_loop_busy_is_named(
    work: Callable[[float], None], waits: int, caplog: pytest.LogCaptureFixture
) -> None:
    [warning] = warnings_of(Handler(lambda prompt: prompt == "Task 7" and work(BUSY_S), waits), caplog)
    assert warning.startswith("step7: backend 'handler' kept the event loop busy for at least ")
    assert f"(at {__file__}:" in warning


def test_so_is_a_callback_backend(caplog: pytest.LogCaptureFixture) -> None:
    [warning] = warnings_of(Callback(lambda prompt: prompt == "Task 7" and time.sleep(BUSY_S)), caplog)
    assert warning.startswith("step7: backend 'handler' kept the event loop busy for at least ")


def test_there_are_a_few_warnings_per_run(caplog: pytest.LogCaptureFixture) -> None:
    found = warnings_of(Handler(lambda _: time.sleep(BUSY_S)), caplog, calls=5)
    assert [warning.split(":")[0] for warning in found] == ["step0", "step1", "step2"]


@pytest.mark.parametrize("waits", [0, 3])
def test_many_short_steps_are_nobodys_fault(waits: int, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(Handler(lambda _: time.sleep(0.002), waits), caplog, calls=200) == []


def test_a_handler_that_waits_as_it_should_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    class Waiting(Handler):
        async def call(self, request: ModelRequest) -> ModelAnswer:
            await asyncio.to_thread(time.sleep, BUSY_S)
            return await super().call(request)

    assert warnings_of(Waiting(lambda _: None), caplog) == []


def test_the_thread_that_watches_is_gone_with_the_run(caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    warnings_of(Handler(lambda _: time.sleep(BUSY_S)), caplog, calls=1)
    assert threading.active_count() == before


def test_runs_that_follow_one_another_share_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        threads: set[int] = set()
        for _ in range(3):
            WATCH.begin(loop)
            threads |= {thread.ident or 0 for thread in threading.enumerate() if thread.name == "apxm watch"}
            WATCH.end(loop)
        assert len(threads) == 1

    asyncio.run(main())
