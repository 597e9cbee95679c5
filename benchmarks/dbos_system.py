"""The runs of `benchmarks.runs` on DBOS, by an interpreter that has it:

    $DBOS_PYTHON dbos_system.py FOLDER

For each line `RUNS AT_ONCE ALONE` it answers with one of JSON: runs a second, so many at once, whose answers take
20 ms; ms of processor time for each; and ms of each of `ALONE` runs, one after the other, whose answers come at once,
in the median. Its system database is SQLite in FOLDER.
"""

import asyncio
import json
import sys
from statistics import median
from time import perf_counter, process_time

from dbos import DBOS  # pyright: ignore[reportMissingImports]

ANSWER = "answer " * 40
ANSWERED_S = 0.02


@DBOS.step()
async def ask(prompt: str, answered_s: float) -> str:  # noqa: ARG001  # it is what a step keeps
    if answered_s:
        await asyncio.sleep(answered_s)
    return ANSWER


@DBOS.workflow()
async def three(q: str, answered_s: float) -> str:
    one, two = await asyncio.gather(ask(f"one {q}", answered_s), ask(f"two {q}", answered_s))
    return await ask(f"three {one} {two}", answered_s)


async def measured(runs: int, at_once: int, alone: int) -> tuple[float, float, float]:
    slots = asyncio.Semaphore(at_once)

    async def within(number: int) -> None:
        async with slots:
            await three(str(number), ANSWERED_S)

    begun, processor = perf_counter(), process_time()
    await asyncio.gather(*map(within, range(runs)))
    rate, spent = runs / (perf_counter() - begun), (process_time() - processor) / runs * 1e3
    taken: list[float] = []
    for number in range(alone):
        begun = perf_counter()
        await three(str(number), 0)
        taken.append((perf_counter() - begun) * 1e3)
    return rate, spent, median(taken)


async def main() -> None:
    DBOS.launch()
    for line in sys.stdin:
        print(json.dumps(await measured(*map(int, line.split()))), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    DBOS(
        config={
            "name": "peer",
            "system_database_url": f"sqlite:///{sys.argv[1]}/dbos.db",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    asyncio.run(main())
