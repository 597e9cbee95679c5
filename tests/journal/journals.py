"""What the tests of journals share: a header, rows, and a run that appends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest
from msgspec.structs import replace

from apxm.errors import JournalError
from apxm.journal.journal import Journal
from apxm.journal.rows import Answered, Header, Row, TimedRow, header_of
from apxm.journal.segment import Item, Segment
from apxm.journal.store import store_of
from tests.plans import ask, give, plan, program

RUN_ID = "20260131-235959-k3vd"
STARTED = 1_769_903_999.0
SMALL = program(plan(ask("Größe 🙂"), give(0)))
HEADER = header_of(
    SMALL,
    apxm="0.1.0",
    run_id=RUN_ID,
    started=STARTED,
    path="work/flow.ais",
    kind="source",
    flow="Test.main",
    inputs=["a", {"k": [1, 2.5, None]}],
    options={"backend": "openai", "seed": 3},
)


def header(run_id: str) -> Header:
    return replace(HEADER, run_id=run_id)


def result(number: int) -> Answered:
    return Answered(f"main/a{number}", b"digest", f"answer {number}", "openai", 10, number)


class Watched:
    """Appends rows and notes, in order, whose callbacks came."""

    def __init__(self, journal: Journal) -> None:
        self.committed: list[int] = []
        self.failures: list[JournalError] = []
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._appended = 0
        self._told = asyncio.Event()
        journal.start(self.failures.append)

    def append(self, *rows: Row, urgent: bool = False) -> None:
        for row in rows:
            self._journal.append(row, partial(self._tell, self._appended), urgent=urgent)
            self._appended += 1

    async def all_told(self) -> None:
        """Returns when every callback came."""
        async with asyncio.timeout(60):
            while len(self.committed) < self._appended:
                self._told.clear()
                await self._told.wait()

    def _tell(self, number: int) -> None:
        assert asyncio.get_running_loop() is self._loop
        self.committed.append(number)
        self._told.set()


def write(folder: Path, rows: Sequence[Row], run_id: str = RUN_ID, at: float = STARTED) -> Path:
    """A whole run, from its begin to its close; the log that it is in."""

    async def run() -> Path:
        head = replace(header(run_id), started=at)
        with closing(Journal.create(folder, head, sync="normal", clock=lambda: at)) as journal:
            watched = Watched(journal)
            watched.append(*rows)
            await watched.all_told()
            assert watched.failures == []
            return journal.path

    return asyncio.run(run())


def together(folder: Path, runs: Mapping[str, Sequence[Row]], *, one_by_one: bool = False) -> None:
    """Runs that go on at the same time. Each commit has a row of each, or, where they are appended `one_by_one`, one of
    one of them."""

    async def run() -> None:
        with ExitStack() as stack:
            watched = {
                run_id: Watched(stack.enter_context(closing(Journal.create(folder, header(run_id), sync="normal"))))
                for run_id in runs
            }
            for rows in zip_longest(*runs.values()):
                for run_id, row in zip(runs, rows, strict=True):
                    if row is not None:
                        watched[run_id].append(row)
                    if one_by_one:
                        await watched[run_id].all_told()
                for each in watched.values():
                    await each.all_told()

    asyncio.run(run())
    store_of(folder).rest()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refuse(monkeypatch: pytest.MonkeyPatch, which: Callable[[list[Row]], bool]) -> None:
    """From now on a commit of `which` rows fails as on a full disk. Those of headers, and without rows, do not."""
    append = Segment.append

    def full(self: Segment, items: Sequence[Item], *, durable: bool) -> None:
        rows = [item.row.row for item in items if isinstance(item.row, TimedRow)]
        if rows and which(rows):
            raise OSError(28, "No space left on device")
        append(self, items, durable=durable)

    monkeypatch.setattr(Segment, "append", full)


def unexpected(error: JournalError | None) -> None:
    pytest.fail(f"this was not to be called: {error}")
