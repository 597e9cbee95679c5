"""A process that owns a run and appends rows for as long as it lives: python -m tests.journal.owner FOLDER [BYTES]

Prints the number of each row whose callback came, and the message of a failure. With BYTES no file may grow beyond
that, as on a full disk, and it ends after 1,000 rows; 20 are always waiting.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from contextlib import closing
from pathlib import Path

from apxm.errors import JournalError
from apxm.journal.journal import Journal
from tests.journal.journals import HEADER, result

WAITING = 20


async def own(folder: Path, rows: int | None) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    appended = told = 0

    def append() -> None:
        nonlocal appended
        journal.append(result(appended), lambda number=appended: committed(number))
        appended += 1

    def committed(number: int) -> None:
        nonlocal told
        print(number, flush=True)
        told += 1
        if rows is None or appended < rows:
            append()
        elif told == rows:
            done.set_result(None)

    def failed(error: JournalError) -> None:
        print("failed", error.message, flush=True)

    with closing(Journal.create(folder, HEADER)) as journal:
        journal.start(failed)
        for _ in range(WAITING):
            append()
        await done


if __name__ == "__main__":
    if limit := [int(bytes_) for bytes_ in sys.argv[2:]]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit[0], limit[0]))
    asyncio.run(own(Path(sys.argv[1]), 1000 if limit else None))
