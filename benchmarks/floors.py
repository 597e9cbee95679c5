"""What the least costs here and now: the floors that targets are multiples of, as times alone move with the machine."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from functools import cache
from statistics import median
from time import perf_counter, process_time

from apxm.runtime.loops import real_loop

_TASKS, _TIMES = 1_000, 15


async def gathered(count: int) -> None:
    """As many bare tasks, each of which gives way once."""
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(count)))


@cache
def bare_task_us() -> float:
    """µs of one of a thousand such tasks, on the event loop that runs use."""

    async def measure() -> list[float]:
        found: list[float] = []
        for _ in range(_TIMES):
            gc.collect()
            await gathered(_TASKS)
            begun = perf_counter()
            await gathered(_TASKS)
            found.append((perf_counter() - begun) / _TASKS * 1e6)
        return found

    with asyncio.Runner(loop_factory=real_loop) as runner:
        return median(runner.run(measure()))


def woken_ms(for_s: float) -> float:
    """ms of processor time a second of a loop with nothing to do that is woken a hundred times a second."""

    async def measure() -> float:
        begun = process_time()
        for _ in range(round(for_s * 100)):
            await asyncio.sleep(0.01)
        return (process_time() - begun) / for_s * 1e3

    with asyncio.Runner(loop_factory=real_loop) as runner:
        return runner.run(measure())


def printed_s(lines: int) -> float:
    """Seconds of a Python process that prints as many lines of six columns, and does nothing else."""
    code = f"for i in range({lines}): print(f'{{i:020d}}  {{i:9}}  {{i:>8}}  {{i:12}}  {{i:>8}}  {{i:>8}}')"
    begun = perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - begun
