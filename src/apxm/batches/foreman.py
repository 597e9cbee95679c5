"""A batch that several processes do: who gives inputs to workers, and has all that there is once.

The batch, its output and its journals are as where one process does it, and so are the gates of its backends: a
`Foreman` is the work that the batch runs. It gives each input to the worker that has the fewest, and those of a worker
that is lost to others. Which processes these are, and how they are reached, is an engine's to know.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from time import time
from typing import Any, Protocol

from msgspec.structs import replace

from apxm.analysis.profile import Profile
from apxm.analysis.static import Needs
from apxm.backends.answers import Answers
from apxm.backends.protocol import ModelAnswer
from apxm.batches.budget_leases import AskFor, NoMore, Spend, Treasurer
from apxm.batches.journals import INPUT, Journals, RunJournals
from apxm.batches.leases import Lessor
from apxm.batches.output import Problem
from apxm.batches.tally import RunSummary
from apxm.batches.work import Outcome, Watcher, Work
from apxm.batches.worker import (
    Appended,
    Begun,
    Cancel,
    Claim,
    Committed,
    Done,
    FromForeman,
    Known,
    Settled,
    Task,
    ToForeman,
    Unjournaled,
    Warned,
)  # fmt: skip
from apxm.errors import ApxmError, ConfigurationError, JournalError, UsageError
from apxm.journal.ids import new_run_id
from apxm.journal.journal import Journal
from apxm.journal.rows import History
from apxm.journaling import created
from apxm.program.program import FlowParameter, Kind
from apxm.runtime.gates import Gate
from apxm.runtime.shared_budget import SharedBudget
from apxm.session import Session

_TRIES = 3
"""An input whose worker was lost so often fails: it may be what its workers end by."""
LOST = "worker"
"""The kind of such a failure."""

Tell = Callable[[FromForeman], object]


class Engine(Protocol):
    """Where there are workers."""

    def running(self, foreman: Foreman) -> AbstractAsyncContextManager[int]:
        """While it is open, there are workers that the foreman hears of; gives how many there are to be."""
        ...


class _LostError(Exception):
    """The worker that had the input is gone."""


class _Open:
    """An input that a worker has."""

    def __init__(self, journal: Journal | None, outcome: asyncio.Future[Outcome]) -> None:
        self.journal = journal
        """Of its run, once that has begun."""
        self.outcome = outcome


class _Worker:
    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.open: dict[int, _Open] = {}


class Foreman:
    def __init__(
        self,
        work: Work,
        gates: Mapping[str, Gate],
        budget: SharedBudget | None,
        engine: Engine,
        warn: Callable[[str], object],
    ) -> None:
        """`work` is what each run is; the `gates` are those of its backends, and the `budget` is that of all."""
        self._work = work
        self._gates = gates
        self._treasurer = None if budget is None else Treasurer(budget, self._tell)
        self._engine = engine
        self._warn = warn
        self._journals: Journals | None = None
        self._workers: dict[int, _Worker] = {}
        self._numbers = count(1)
        self._changed = asyncio.Event()
        self._failure: ApxmError | None = None
        self._programs: dict[str, bytes] = {}
        """The programs of runs, by digest."""
        self.shared = 0
        """Calls that were not made, as they were equal to others."""

    # --- the work of a batch ---------------------------------------------------------------------------------------

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return self._work.kinds

    @property
    def parameters(self) -> Sequence[FlowParameter]:
        return self._work.parameters

    @property
    def signature(self) -> str:
        return self._work.signature

    @property
    def identity(self) -> dict[str, Any]:
        return self._work.identity

    def takes(self, *, holds_text: bool, is_table: bool) -> None:
        self._work.takes(holds_text=holds_text, is_table=is_table)

    def arguments(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """The row itself, once it is known to fit: its worker makes arguments of it, which may be any objects."""
        self._work.arguments(values)
        return values

    def needs(self, arguments: Mapping[str, object], profile: Profile | None) -> Needs:
        return self._work.needs(self._work.arguments(arguments), profile)

    def session(self, arguments: Mapping[str, object], id: str | None = None) -> Session:
        return self._work.session(self._work.arguments(arguments), id)

    def keep(self, journals: RunJournals) -> None:
        assert isinstance(journals, Journals)
        self._journals = journals

    def watch(self, watcher: Watcher) -> None:
        del watcher
        raise UsageError("the runs of workers cannot be watched")

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[int]:
        loop = asyncio.get_running_loop()
        self._lessor = Lessor(self._gates, self._tell, loop)
        answers = Answers()
        self._claims = _Claims(answers, self._tell)
        try:
            async with self._engine.running(self) as workers:
                yield workers
        finally:
            answers.close()

    async def run(self, arguments: Mapping[str, object], id: str) -> Outcome:
        for _ in range(_TRIES):
            journal, history = self._earlier(id)
            try:
                worker = await self._free_worker()
                number, run_id = next(self._numbers), None
                if self._journals is not None:
                    run_id = new_run_id(time()) if journal is None else journal.run_id
                open = _Open(journal, asyncio.get_running_loop().create_future())
                worker.open[number] = open
                if journal is not None:
                    journal.start(partial(self._unjournaled, worker, number))
                worker.tell(Task(number, arguments, id, run_id, history))
                try:
                    return await open.outcome
                except _LostError:
                    continue
                except asyncio.CancelledError:
                    worker.tell(Cancel(number))
                    raise
                finally:
                    worker.open.pop(number, None)
                    journal = open.journal
            finally:
                if journal is not None:
                    await journal.closed()
                    if journal.failure is not None:
                        self._warn(str(journal.failure))
        why = f"{_TRIES} workers that had it were lost; --retry-failed does it again"
        return Outcome(RunSummary(0, 0, 0.0, []), error=Problem(LOST, why))

    def _earlier(self, id: str) -> tuple[Journal | None, History | None]:
        """The journal of a run that was begun for an input, by an earlier process or a worker that is lost."""
        earlier = None if self._journals is None else self._journals.earlier(id, self._work.kinds)
        if earlier is None:
            return None, None
        recorder = earlier.recorder
        assert isinstance(recorder.journal, Journal)
        return recorder.journal, recorder.history

    async def _free_worker(self) -> _Worker:
        while not self._workers:
            if self._failure is not None:
                raise self._failure
            self._changed.clear()
            await self._changed.wait()
        return min(self._workers.values(), key=lambda worker: len(worker.open))

    # --- what the engine tells -------------------------------------------------------------------------------------

    def joined(self, number: int, tell: Tell) -> None:
        """There is a worker of this number; `tell` is what it hears by."""
        self._workers[number] = _Worker(tell)
        self._changed.set()

    def lost(self, number: int, why: str) -> None:
        """It is gone, and does nothing any more."""
        worker = self._workers.pop(number, None)
        if worker is None:
            return
        open = len(worker.open)
        self._warn(
            f"a worker is lost ({why})" + (f"; the {open} inputs that it had are done elsewhere" if open else "")
        )
        for each in worker.open.values():
            if not each.outcome.done():
                each.outcome.set_exception(_LostError())
        self._lessor.lost(number)
        if self._treasurer is not None:
            self._treasurer.lost(number)
        self._claims.lost(number)

    def failed(self, error: ApxmError) -> None:
        """There will be no workers any more."""
        self._failure = error
        self._changed.set()

    def heard(self, number: int, said: ToForeman) -> None:
        """What the worker of this number says."""
        worker = self._workers.get(number)
        if worker is None:
            return  # what it had is others' by now
        match said:
            case Warned(text=text):
                self._warn(text)
            case AskFor() | Spend() | NoMore():
                assert self._treasurer is not None
                self._treasurer.heard(number, said)
            case Claim() | Settled():
                self._claims.heard(number, said)
            case Begun() | Appended() | Done():
                if (open := worker.open.get(said.number)) is not None:
                    self._heard_of(worker, open, said)
            case _:
                self._lessor.heard(number, said)

    def _heard_of(self, worker: _Worker, open: _Open, said: Begun | Appended | Done) -> None:
        match said:
            case Begun(number=number, header=header):
                assert self._journals is not None
                program = self._programs.setdefault(header.program_digest, header.program)
                id = str(header.options[INPUT])
                try:
                    journaling = self._journals.begun(id, header.run_id)
                    open.journal = created(journaling, replace(header, program=program))
                    open.journal.start(partial(self._unjournaled, worker, number))
                except (JournalError, ConfigurationError) as error:
                    self._unjournaled(worker, number, JournalError(f"this run has no journal: {error}"))
                except ApxmError as error:
                    open.outcome.set_exception(error)
            case Appended(number=number):
                committed = partial(worker.tell, Committed(number)) if said.waits else None
                if open.journal is not None:
                    open.journal.append(said.row, committed, urgent=said.urgent)
                elif committed is not None:
                    committed()
            case Done(outcome=outcome):
                self.shared += said.shared
                if open.outcome.done():
                    return
                if isinstance(outcome, ApxmError):
                    open.outcome.set_exception(outcome)
                else:
                    open.outcome.set_result(outcome)

    def _unjournaled(self, worker: _Worker, number: int, error: JournalError) -> None:
        worker.tell(Unjournaled(number, error))

    def _tell(self, number: int, said: FromForeman) -> None:
        if (worker := self._workers.get(number)) is not None:
            worker.tell(said)


class _Claim:
    def __init__(self, holder: tuple[int, int]) -> None:
        self.holder = holder
        """Who asks: a worker, and the number that it has for it."""
        self.waiting: deque[tuple[int, int]] = deque()


class _Claims:
    """Which equal calls are in flight, and the answers that there are."""

    def __init__(self, answers: Answers, tell: Callable[[int, Known], object]) -> None:
        self._answers = answers
        self._tell = tell
        self._keys: dict[tuple[int, int], bytes] = {}
        self._claims: dict[bytes, _Claim] = {}

    def heard(self, worker: int, said: Claim | Settled) -> None:
        who = worker, said.number
        if isinstance(said, Settled):
            if who in self._keys:
                self._settle(who, said.answer)
        elif (answer := self._answers.get(said.key)) is not None:
            self._tell(worker, Known(said.number, answer))
        else:
            self._keys[who] = said.key
            if (claim := self._claims.get(said.key)) is not None:
                claim.waiting.append(who)
            else:
                self._claims[said.key] = _Claim(who)
                self._tell(worker, Known(said.number, None))

    def lost(self, worker: int) -> None:
        lost = [who for who in self._keys if who[0] == worker]
        for who in sorted(lost, key=lambda who: self._claims[self._keys[who]].holder == who):  # those that wait first
            self._settle(who, None)

    def _settle(self, who: tuple[int, int], answer: ModelAnswer | None) -> None:
        key = self._keys.pop(who)
        claim = self._claims[key]
        if claim.holder != who:  # it gave up waiting
            claim.waiting.remove(who)
            return
        if answer is not None:
            self._answers.put(key, answer)
            for waiting in claim.waiting:
                del self._keys[waiting]
                self._tell(waiting[0], Known(waiting[1], answer))
            claim.waiting.clear()
        if claim.waiting:
            claim.holder = claim.waiting.popleft()
            self._tell(claim.holder[0], Known(claim.holder[1], None))
        else:
            del self._claims[key]
