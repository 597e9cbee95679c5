"""A process that waits for a line, and then takes runs over: python -m tests.journal.taker FOLDER ID…

Prints for each run whether it has it now, or who else has; appends a row to each of those that it has, and holds them
until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from apxm.errors import JournalBusyError
from apxm.journal.journal import Journal
from apxm.journal.rows import Resumed
from tests.journal.journals import Watched, result


async def take(folder: Path, ids: list[str]) -> None:
    journals: list[Journal] = []
    for run_id in ids:
        try:
            journal, history = Journal.reopen(folder, run_id)
        except JournalBusyError:
            print("busy", run_id, flush=True)
            continue
        journals.append(journal)
        watched = Watched(journal)
        watched.append(Resumed("0"), result(len(history.records)))
        await watched.all_told()
        print("taken", run_id, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for journal in journals:
        await journal.closed()


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(take(Path(sys.argv[1]), sys.argv[2:]))
