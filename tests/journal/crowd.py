"""A process that owns many runs and appends rows to all of them for as long as it lives:
python -m tests.journal.crowd FOLDER SECOND COUNT [LARGEST]

The ids of its runs are of that SECOND (``20260101-000001``). Prints the run's number and the row's, of each row whose
callback came. LARGEST is how large a log may become, in bytes.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

from apxm.journal import segment
from apxm.journal.ids import _LETTERS  # pyright: ignore[reportPrivateUsage]
from apxm.journal.journal import Journal
from tests.journal.journals import header, result, unexpected


def id_of(second: str, number: int) -> str:
    return f"{second}-aa{_LETTERS[number // 31]}{_LETTERS[number % 31]}"


async def own(folder: Path, second: str, count: int) -> None:
    def append(run: int, row: int) -> None:
        journals[run].append(result(row), partial(committed, run, row))

    def committed(run: int, row: int) -> None:
        print(run, row, flush=True)
        append(run, row + 1)

    journals = [Journal.create(folder, header(id_of(second, number))) for number in range(count)]
    for run, journal in enumerate(journals):
        journal.start(unexpected)
        append(run, 0)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    if largest := sys.argv[4:]:
        segment.LARGEST = int(largest[0])
    asyncio.run(own(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
