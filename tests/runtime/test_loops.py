"""Virtual time: an integer that moves only when nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from apxm.errors import InternalError, UsageError
from apxm.runtime.deadlines import Deadlines
from apxm.runtime.loops import COMPLETION, START, TIMEOUT, RealClock, VirtualLoop, clock_of, real_loop, run_virtually


def test_sleeping_takes_exactly_as_long_as_it_says_and_no_time_at_all() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        instants: list[int] = []
        for delay in (3600, 0.1, 1e-9, 0):
            await asyncio.sleep(delay)
            instants.append(loop.now())
        return instants

    assert run_virtually(main()) == [3600_000_000_000, 3600_100_000_000, 3600_100_000_001, 3600_100_000_001]


def test_what_is_due_together_goes_by_rank_then_by_creation() -> None:
    async def main() -> list[str]:
        clock = clock_of(asyncio.get_running_loop())
        order: list[str] = []
        for name, rank in [("start", START), ("timeout", TIMEOUT), ("first", COMPLETION), ("second", COMPLETION)]:
            clock.call_at(1000, lambda name=name: order.append(name), rank)
        await asyncio.sleep(1e-6)
        await asyncio.sleep(0)
        return order

    assert run_virtually(main()) == ["first", "second", "timeout", "start"]


def test_asyncio_timeouts_work_and_cancelled_timers_do_not_hold_time_up() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.sleep(10)
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == 2.0


def test_a_thousand_ties_after_awkward_fractions_do_not_drift() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        for _ in range(1000):
            await asyncio.gather(*(asyncio.sleep(0.1) for _ in range(3)))
        return loop.now()

    assert run_virtually(main()) == 100_000_000_000


def test_nothing_left_to_wait_for_is_an_error_and_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(InternalError, match="nothing is left to wait for"):
        run_virtually(main())


def test_threads_are_refused() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="virtual time cannot wait for a thread"):
            await asyncio.to_thread(print)

    run_virtually(main())


class FakeLoop:
    """A loop whose timers fire when told to, early included."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.callback: Callable[[], None] = lambda: None

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.delays.append(delay)
        self.callback = callback


def test_a_timer_of_the_real_loop_that_fires_early_is_armed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr("apxm.runtime.loops.perf_counter_ns", lambda: now[0])
    loop, fired = FakeLoop(), [0]

    def fire() -> None:
        fired[0] += 1

    RealClock(loop).call_at(5_000_000, fire)  # pyright: ignore[reportArgumentType]
    now[0] = 4_400_000
    loop.callback()
    assert fired == [0]
    now[0] = 5_000_000
    loop.callback()
    assert fired == [1]
    assert loop.delays == [0.005, 0.0006]


def test_the_real_loop_runs() -> None:
    async def main() -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        clock = clock_of(asyncio.get_running_loop())
        begun = clock.now()
        clock.call_at(begun + 1_000_000, lambda: done.set_result(clock.now()))
        return await done - begun

    with asyncio.Runner(loop_factory=real_loop) as runner:
        assert runner.run(main()) >= 1_000_000


@dataclass(eq=False)
class Attempt:
    sent: int | None = 0
    limit: int | None = 1000


def test_deadlines_keep_one_timer_per_limit_and_forget_what_is_over() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        expired: list[tuple[int, Attempt]] = []
        deadlines: Deadlines[Attempt] = Deadlines(clock_of(loop), lambda a: expired.append((loop.now(), a)))
        first, second, third, unlimited = Attempt(), Attempt(), Attempt(sent=400), Attempt(limit=None)
        for attempt in (first, second, unlimited):
            deadlines.add(attempt)
        await asyncio.sleep(400e-9)
        deadlines.add(third)
        deadlines.remove(second)
        assert list(deadlines) == [unlimited, first, third]
        assert len(loop._timers) == 1  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(1e-5)
        assert expired == [(1000, first), (1400, third)]
        assert list(deadlines) == [unlimited]

    run_virtually(main())


def test_the_time_of_an_attempt_counts_from_when_it_was_sent() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        expired: list[int] = []
        deadlines: Deadlines[Attempt] = Deadlines(clock_of(loop), lambda _: expired.append(loop.now()))
        attempt = Attempt(sent=None)
        deadlines.add(attempt)
        await asyncio.sleep(1200e-9)
        attempt.sent = 1200
        await asyncio.sleep(1e-5)
        assert expired == [2200]

    run_virtually(main())


def test_an_attempt_whose_time_is_over_may_end_others_in_its_wake() -> None:
    async def main() -> None:
        expired: list[Attempt] = []

        def expire(attempt: Attempt) -> None:
            expired.append(attempt)
            deadlines.clear()
            deadlines.add(Attempt(sent=1000))

        deadlines: Deadlines[Attempt] = Deadlines(clock_of(asyncio.get_running_loop()), expire)
        first, second = Attempt(), Attempt()
        for attempt in (first, second):
            deadlines.add(attempt)
        await asyncio.sleep(1500e-9)
        assert expired == [first]
        deadlines.clear()
        await asyncio.sleep(1e-5)
        assert expired == [first]

    run_virtually(main())
