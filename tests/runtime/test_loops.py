"""Virtual time: an integer that moves only when nothing is left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from apxm.errors import InternalError, UsageError
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
