"""Handlers that keep the event loop busy are named, and nobody else is."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest

import apxm
from apxm.backends.protocol import AnyBackend, BackendInfo, Clock, Handle, Limits, ModelAnswer, ModelRequest
from apxm.runtime import attempts
from apxm.runtime.limits import BackendPool
from apxm.runtime.watch import INTERVAL_S, LINGER_S, Senses, Step, Watch, Watcher, is_ours, waited_ns

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
    end = time.thread_time() + seconds  # the time in which others compute is nobody's fault
    while time.thread_time() < end:
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
    seen: list[threading.Thread] = []

    def work(_prompt: str) -> None:
        time.sleep(BUSY_S)
        seen.extend(watching())

    warnings_of(Handler(work), caplog, calls=1)
    assert len(seen) == 1
    assert watching() == []


class Ours(Callback):
    """A backend of this package, as far as anybody can see."""

    def begin(self, request: ModelRequest, clock: Clock, done: Callable[..., None]) -> Handle:
        return super().begin(request, clock, done)

    begin.__module__ = "apxm.backends.ours"


def watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "apxm watch"]


@pytest.mark.parametrize(("kind", "threads"), [(Callback, 1), (Ours, 0)])
def test_there_is_a_thread_only_where_somebody_elses_code_runs(
    kind: type[Callback], threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    seen: set[threading.Thread] = set()

    def look(_prompt: str) -> None:
        seen.update(watching())

    for thread in watching():  # it outlives the runs of tests before by a moment
        thread.join()
    warnings_of(kind(look), caplog)
    assert len(seen) == threads


class Asleep:
    """Stands for a watch that always sleeps."""

    asleep = True

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class OurHandler(Handler):
    async def call(self, request: ModelRequest) -> ModelAnswer:
        return await super().call(request)

    call.__module__ = "apxm.backends.ours"


@pytest.mark.parametrize(
    ("backend", "steps"),
    [
        (Handler(lambda _: None, waits=3), 4),  # when its task begins, and each time that it goes on
        (Callback(lambda _: None), 1),
        (OurHandler(lambda _: None, waits=3), 0),
        (Ours(lambda _: None), 0),
    ],
)
def test_whoever_begins_a_step_of_somebody_elses_code_wakes_it(
    backend: AnyBackend, steps: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Asleep()
    monkeypatch.setattr(attempts, "WATCH", watch)
    warnings_of(backend, caplog, calls=1)
    assert watch.woken == steps


def test_a_handler_that_is_cancelled_wakes_it_too(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Handler):
        async def call(self, request: ModelRequest) -> ModelAnswer:
            try:
                await asyncio.sleep(60)
            finally:
                self.work(request.prompt)
            return ModelAnswer("done")

    backend = Stubborn(lambda _: time.sleep(BUSY_S))
    backend.limits = Limits(timeout_s=0.05, retries=0)
    with pytest.raises(apxm.RunFailed):
        warnings_of(backend, caplog, calls=1)
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith("step0: backend 'handler' kept the event loop busy for at least ")


@pytest.mark.parametrize("module", ["apxm.backends.openai", "apxm.runtime.streaming", "apxm.tools.mcp"])
def test_our_own_code_is_ours(module: str) -> None:
    assert is_ours(module)


@pytest.mark.parametrize("module", ["apxm.tools.python", "apxm.testing.scripted", "apxm_backends", "__main__", None])
def test_any_other_is_somebody_elses(module: str | None) -> None:
    assert not is_ours(module)


# --- on a clock of its own -------------------------------------------------------------------------------------------

MS = 1_000_000


class World:
    """A watch without a thread, and the one loop that it watches, whose clock, processor and steps are told."""

    def __init__(self) -> None:
        self.now = 0
        self.waited = 0
        self.inside = False
        """Whether the loop's thread is in a function that gives control to somebody else's code."""
        self.step: str | None = None
        self.queue: list[Callable[[], None]] = []
        """What the loop does as soon as it has a turn."""
        self.told: list[tuple[int, str]] = []
        self.started: list[Watcher] = []
        senses = Senses(lambda: self.now, self._step_of, self._waited_ns)
        self.watch = Watch(senses, self.started.append)
        self.loop = cast(asyncio.AbstractEventLoop, self)

    def _step_of(self, _thread: int) -> tuple[bool, Step | None]:
        if self.step is None:
            return self.inside, None
        return True, Step(self._held_up, self.step, f"{self.step}:1")

    def _held_up(self, duration: int, where: str) -> None:
        self.told.append((duration, where))

    def _waited_ns(self, _native: int) -> int:
        return self.waited

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.queue.append(callback)

    def enter(self, step: str | None) -> None:
        """Somebody else's code begins a step, or something between two such."""
        self.inside, self.step = True, step
        if self.watch.asleep:
            self.watch.wake()

    def leave(self) -> None:
        """The step is over, and the loop takes its next turn."""
        self.inside, self.step = False, None
        queue, self.queue = self.queue, []
        for callback in queue:
            callback()

    @property
    def watcher(self) -> Watcher:
        (watcher,) = self.started
        return watcher


@pytest.fixture
def world() -> World:
    world = World()
    world.watch.begin(world.loop)
    return world


def looks_for(world: World, pauses: Iterator[float | None], ms: int) -> list[float | None]:
    """Lets so much time go by, and gives how long the watcher wanted to wait meanwhile."""
    end, waits = world.now + ms * MS, list[float | None]()
    while world.now < end:
        waits.append(pause := next(pauses))
        if pause is None:
            break
        world.now += round(pause * 1e9)
    return waits


def test_where_nobody_elses_code_runs_nobody_looks(world: World) -> None:
    assert world.watch.asleep
    assert not world.started


def test_it_looks_once_and_sleeps_until_it_is_woken(world: World) -> None:
    world.enter("a")
    world.leave()
    pauses = world.watcher.pauses()
    assert looks_for(world, pauses, 1000) == [INTERVAL_S, None]
    assert world.watch.asleep
    world.now += 1000 * MS
    world.enter("b")
    assert not world.watch.asleep
    assert world.watcher.stirred.is_set()
    world.leave()
    assert looks_for(world, pauses, 1000) == [INTERVAL_S, None]


def test_many_short_steps_do_not_wake_it_each(world: World) -> None:
    world.enter("a")
    world.leave()
    pauses = world.watcher.pauses()
    assert looks_for(world, pauses, 1000) == [INTERVAL_S, None]
    world.enter("b")
    world.leave()
    assert looks_for(world, pauses, 1000) == [INTERVAL_S] * 5 + [None]


def test_it_looks_on_while_a_step_goes_on_that_holds_nobody_up_yet(world: World) -> None:
    world.enter(None)
    pauses = world.watcher.pauses()
    assert looks_for(world, pauses, 1000) == [INTERVAL_S] * 100
    world.step = "a"  # in the same turn: nobody wakes it again
    looks_for(world, pauses, 100)
    world.leave()
    assert [where for _, where in world.told] == ["a:1"]


def test_a_step_that_begins_while_it_goes_to_sleep_is_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.enter("a")
    world.leave()
    rests = world.watch.rests

    def rests_too_late(watcher: Watcher, sleeps: bool) -> bool:
        if sleeps and not world.inside:
            world.enter("b")  # which cannot know yet that it has to wake anybody
        return rests(watcher, sleeps)

    monkeypatch.setattr(world.watch, "rests", rests_too_late)
    assert None not in looks_for(world, world.watcher.pauses(), 100)
    world.leave()
    assert [where for _, where in world.told] == ["b:1"]


def hold_up(world: World, ms: int) -> None:
    world.enter("a")
    looks_for(world, world.watcher.pauses(), ms)
    assert not world.told  # it is told in the loop, which has no turn
    world.leave()


def test_a_step_counts_from_where_it_was_first_seen_to_where_it_was_last_seen(world: World) -> None:
    hold_up(world, 100)
    assert world.told == [(85 * MS, "a:1")]


def test_one_that_was_not_seen_for_as_long_as_the_limit_is_not_told_of(world: World) -> None:
    hold_up(world, 60)
    assert not world.told


@pytest.mark.parametrize(("waited", "told"), [(0, [145]), (95, [50]), (96, [])])
def test_the_time_without_a_processor_does_not_count(world: World, waited: int, told: list[int]) -> None:
    world.enter("a")
    looks_for(world, world.watcher.pauses(), 160)
    world.waited += waited * MS  # the system counts it when it is over
    world.leave()
    assert [duration // MS for duration, _ in world.told] == told


def test_steps_that_follow_each_other_are_not_one(world: World) -> None:
    world.enter("a")
    pauses = world.watcher.pauses()
    for turn in range(20):
        looks_for(world, pauses, 20)
        if turn % 2:
            world.leave()  # the same call goes on behind a turn of the loop
            world.enter("a")
        else:
            world.step = f"b{turn}"  # another one goes on in the same turn
    world.leave()
    assert not world.told


def test_a_loop_that_was_closed_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_callback: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")

    monkeypatch.setattr(world, "call_soon_threadsafe", closed)
    hold_up(world, 100)
    assert not world.told


def test_behind_the_last_run_it_lingers_and_ends(world: World) -> None:
    world.enter("a")
    world.leave()
    world.watch.end(world.loop)  # before it has looked
    assert not world.watch.asleep
    assert list(world.watcher.pauses()) == [INTERVAL_S, LINGER_S]


def test_runs_that_follow_one_another_share_it(world: World) -> None:
    pauses = None
    for _ in range(3):
        world.now += 1000 * MS
        world.enter("a")
        world.leave()
        world.watch.end(world.loop)
        pauses = pauses or world.watcher.pauses()
        assert next(pauses) == INTERVAL_S
        assert next(pauses) == LINGER_S
        world.watch.begin(world.loop)
        assert world.watch.asleep
    assert len(world.started) == 1


def test_where_there_can_be_no_thread_nobody_looks(world: World) -> None:
    def start(_watcher: Watcher) -> None:
        raise RuntimeError("can't start new thread")

    watch = Watch(start=start)
    watch.begin(world.loop)
    watch.wake()
    assert not watch.asleep
    watch.end(world.loop)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells")
def test_the_system_says_how_long_a_thread_had_no_processor() -> None:
    assert waited_ns(threading.get_native_id()) >= 0


def test_no_thread_that_is_not_there_has_waited() -> None:
    assert waited_ns(-1) == 0
