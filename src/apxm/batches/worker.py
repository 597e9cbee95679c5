"""One of several processes that do a batch: it has the runs of its inputs, and is told what else it needs to know.

It and the `Foreman` who sends it inputs say plain values to each other, in order; an engine carries them. A worker
keeps nothing: leave for calls is the foreman's to give, journals are the foreman's to write, and so are answers to
calls that are equal.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from apxm.backends.protocol import AnyBackend, ModelAnswer
from apxm.batches.budget_leases import Covered, FromSpender, LeasedBudget
from apxm.batches.journals import INPUT
from apxm.batches.leases import FromLessor, LeasedGate, ToLessor
from apxm.batches.once import Once
from apxm.batches.work import Outcome, Work
from apxm.config.inventory import Inventory
from apxm.config.invocation import Invocation
from apxm.config.selection import resolve
from apxm.errors import ApxmError, JournalError
from apxm.journal.rows import Header, History, Row
from apxm.journaling import header_for
from apxm.operations.types import Value
from apxm.program.program import Kind
from apxm.runtime.gates import Gate
from apxm.runtime.limits import BackendPool, is_adaptive
from apxm.runtime.recording import Recorder
from apxm.session import Session
from apxm.tools.toolbox import Toolbox
from apxm.version import VERSION

# --- what is said ---------------------------------------------------------------------------------------------------


class Task(Struct, frozen=True):
    """An input to do."""

    number: int
    values: Mapping[str, object]
    id: str
    run_id: str | None
    """Of its run; None where that has no journal."""
    history: History | None = None
    """What earlier processes left of the run."""


class Cancel(Struct, frozen=True):
    number: int


class Committed(Struct, frozen=True):
    """The next row of this task that was waited for is on the disk."""

    number: int


class Unjournaled(Struct, frozen=True):
    """No more rows of this task are kept."""

    number: int
    why: JournalError


class Known(Struct, frozen=True):
    """An answer that was claimed; None: it is for the worker to ask."""

    number: int
    answer: ModelAnswer | None


class Begun(Struct, frozen=True):
    """A run of this task begins. A program that was sent before is not sent again."""

    number: int
    header: Header


class Appended(Struct, frozen=True):
    number: int
    row: Row
    waits: bool
    """Whether a `Committed` is waited for."""
    urgent: bool


class Claim(Struct, frozen=True):
    number: int
    key: bytes


class Settled(Struct, frozen=True):
    """What was claimed has an answer, or nobody waits for it any more."""

    number: int
    answer: ModelAnswer | None


class Done(Struct, frozen=True):
    number: int
    outcome: Outcome | ApxmError
    shared: int
    """Calls that were not made as they were equal to others, since that was last said."""


class Warned(Struct, frozen=True):
    text: str


ToForeman = ToLessor | FromSpender | Begun | Appended | Claim | Settled | Done | Warned
FromForeman = FromLessor | Covered | Task | Cancel | Committed | Unjournaled | Known
Tell = Callable[[ToForeman], object]


@dataclass(frozen=True)
class Order:
    """What a worker is given, once: all of it can be pickled."""

    make: Callable[[Invocation, BackendPool, Toolbox], Work]
    told: Invocation
    inventory: Inventory
    variables: Mapping[str, str]
    """Those of the environment that the configuration names."""
    limits: tuple[int | None, int | None] | None
    """The most tokens, and millionths of a millionth of money, that all inputs may use together."""
    dedupe: bool
    holds_text: bool
    is_table: bool


# --- what it does ---------------------------------------------------------------------------------------------------


class Worker:
    def __init__(self, order: Order, tell: Tell) -> None:
        """Belongs to the event loop that runs. Raises what `resolve` does."""
        self._tell = tell
        self._numbers = count(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        os.environ.update(order.variables)
        self._budget = None if order.limits is None else LeasedBudget(*order.limits, tell, self._numbers)
        told = order.told.but({"warn": self._warn, "budget": self._budget})
        configured = resolve(told.selection, order.inventory)
        self._tools = configured.tools
        self._gates: dict[str, LeasedGate] = {}
        self._claims = _Claims(tell, self._numbers)
        self._held = ExitStack()
        self._once = self._held.enter_context(Once(self._claims))
        self._said_shared = 0
        pool = configured.pool().gated(self._gate)
        self._pool = self._once.of(pool) if order.dedupe else pool
        self._work = order.make(told, self._pool, configured.tools)
        self._work.takes(holds_text=order.holds_text, is_table=order.is_table)
        self._journals = _Journals(tell)
        self._keeps = False

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks.values())
        await self._tools.close()
        await self._pool.close()
        self._held.close()

    def heard(self, said: FromForeman) -> None:
        match said:
            case Task(number=number):
                if said.run_id is not None:
                    if not self._keeps:
                        self._keeps = True
                        self._work.keep(self._journals)
                    self._journals.open_for(said)
                self._tasks[number] = asyncio.create_task(self._run(said))
            case Cancel(number=number):
                if (task := self._tasks.get(number)) is not None:
                    task.cancel()
            case Committed() | Unjournaled():
                self._journals.heard(said)
            case Covered():
                assert self._budget is not None
                self._budget.heard(said)
            case Known():
                self._claims.heard(said)
            case _:
                self._gates[said.gate].heard(said)

    def _warn(self, text: str) -> None:
        self._tell(Warned(text))

    def _gate(self, name: str, backend: AnyBackend) -> Gate:
        adaptive = is_adaptive(backend.info, backend.limits)
        gate = self._gates[name] = LeasedGate(
            name, backend.limits, self._tell, adaptive=adaptive, numbers=self._numbers, loop=asyncio.get_running_loop()
        )
        return gate

    async def _run(self, task: Task) -> None:
        outcome: Outcome | ApxmError
        try:
            outcome = await self._work.run(self._work.arguments(task.values), task.id)
        except asyncio.CancelledError:
            raise
        except ApxmError as error:
            outcome = error
        except BaseException as error:
            outcome = ApxmError(f"{type(error).__name__}: {error}")
        finally:
            del self._tasks[task.number]
            self._journals.closed_for(task)
        new, self._said_shared = self._once.shared - self._said_shared, self._once.shared
        self._tell(Done(task.number, outcome, new))


class _Journals:
    """The journals of runs, whose rows the foreman writes."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._open: dict[str, Task] = {}
        self._journals: dict[int, _Journal] = {}
        self._sent = set[str]()
        """Digests of programs."""

    def open_for(self, task: Task) -> None:
        self._open[task.id] = task

    def closed_for(self, task: Task) -> None:
        self._open.pop(task.id, None)
        self._journals.pop(task.number, None)

    def heard(self, said: Committed | Unjournaled) -> None:
        if (journal := self._journals.get(said.number)) is not None:
            journal.heard(said)

    def open(self, session: Session, id: str, kinds: tuple[Kind, ...]) -> Mapping[str, Value] | None:
        del kinds  # the foreman has looked
        task = self._open[id]
        assert task.run_id is not None
        journal = self._journals[task.number] = _Journal(task.number, task.run_id, self._tell)
        told = session.told
        session.run_id = task.run_id
        session.recorder = Recorder(journal, VERSION, task.history, required=told.journaling.require_journal)
        if task.history is not None:
            return task.history.header.options
        noted = {**session.noted, INPUT: id}
        header = header_for(
            task.run_id, session.first_program, session.flow, session.inputs, told, session.pool.default, noted
        )
        if header.program_digest in self._sent:
            header = replace(header, program=b"")
        self._sent.add(header.program_digest)
        self._tell(Begun(task.number, header))
        return None


class _Journal:
    """Stands for a `Journal` that the foreman has."""

    path = Path()
    failure: JournalError | None = None

    def __init__(self, number: int, run_id: str, tell: Tell) -> None:
        self._number = number
        self.run_id = run_id
        self._tell = tell
        self._waiting: deque[Callable[[], object]] = deque()
        """What is called for each row that is waited for."""
        self._on_failure: Callable[[JournalError], object] = lambda error: setattr(self, "failure", error)

    def start(self, on_failure: Callable[[JournalError], object], /) -> None:
        self._on_failure = on_failure
        if self.failure is not None:
            asyncio.get_running_loop().call_soon(on_failure, self.failure)

    def append(self, row: Row, committed: Callable[[], object] | None = None, /, *, urgent: bool = False) -> None:
        if committed is not None:
            self._waiting.append(committed)
        self._tell(Appended(self._number, row, committed is not None, urgent))

    def heard(self, said: Committed | Unjournaled) -> None:
        if isinstance(said, Committed):
            self._waiting.popleft()()
        else:
            self._on_failure(said.why)

    def flush(self) -> None:
        """Nobody reads it here."""

    def close(self) -> None:
        """The foreman closes it, when the run is over."""

    async def closed(self) -> None:
        """As `close`."""


class _Claims:
    """What other workers ask, as the foreman knows it."""

    def __init__(self, tell: Tell, numbers: count[int]) -> None:
        self._tell = tell
        self._numbers = numbers
        self._waiting: dict[int, asyncio.Future[ModelAnswer | None]] = {}
        self._claimed: dict[bytes, int] = {}

    async def claim(self, key: bytes) -> ModelAnswer | None:
        number = next(self._numbers)
        known = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._tell(Claim(number, key))
        try:
            answer = await known
        except asyncio.CancelledError:
            self._tell(Settled(number, None))
            raise
        finally:
            del self._waiting[number]
        if answer is None:
            self._claimed[key] = number
        return answer

    def settle(self, key: bytes, answer: ModelAnswer | None) -> None:
        self._tell(Settled(self._claimed.pop(key), answer))

    def heard(self, said: Known) -> None:
        if (known := self._waiting.get(said.number)) is not None and not known.done():
            known.set_result(said.answer)
