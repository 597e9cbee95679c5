"""What a run tells its journal, and what it finds there when it goes on with an earlier one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import Protocol

import msgspec
from msgspec.structs import replace

from apxm.backends.protocol import Usage
from apxm.errors import JournalError, OperationError
from apxm.journal.rows import (
    Answered,
    Answers,
    Discarded,
    Edited,
    Ended,
    History,
    Printed,
    Reserved,
    Resumed,
    Row,
    Settled,
    Started,
    TimedRow,
    Traced,
    same_program,
)
from apxm.operations.attachments import Attachment
from apxm.operations.types import Value
from apxm.runtime.budget import Cost, as_amount, money
from apxm.runtime.kept_trace import packed
from apxm.runtime.loops import FailureHandler, enter
from apxm.runtime.trace import Trace
from apxm.runtime.waiting import Call
from apxm.source import as_utf8, printable

_encode = msgspec.msgpack.Encoder().encode

Find = Callable[[str, object, str, str | None], Answered | None]
"""A function from an operation's path and request, and the name and variant of its provider, to its answer."""
Then = Callable[[], object]
"""Called once, later, when what was told is safe: on the disk, or given up because the journal failed."""


class RunJournal(Protocol):
    """A `Journal`, or what stands for one that another process writes."""

    @property
    def run_id(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def failure(self) -> JournalError | None: ...

    def start(self, on_failure: Callable[[JournalError], object], /) -> None: ...

    def append(self, row: Row, committed: Callable[[], object] | None = None, /, *, urgent: bool = False) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...

    async def closed(self) -> None: ...


class Recorder:
    """The journal of one run; a path is an operation's, stable over all processes that carry the run on."""

    def __init__(
        self,
        journal: RunJournal,
        apxm: str,
        history: History | None = None,
        *,
        edited: Edited | None = None,
        required: bool = False,
    ) -> None:
        """`apxm` is this version; `history` is what earlier processes left, and already has what was `edited` since;
        `required` says that the run must not go on without a journal."""
        self.journal = journal
        """Where it writes."""
        self._apxm = apxm
        self.history = history
        """What earlier processes left; None of a new run."""
        self._edited = edited
        self.required = required
        self._began = set[str]() if history is None else set(history.unknown)
        self.failure: JournalError | None = None
        """Why nothing is journaled any more."""

    def close(self) -> JournalError | None:
        """Commits what was told. No more is. Returns the failure where something was lost and nobody has been told."""
        self.journal.close()
        return self._lost()

    async def closed(self) -> JournalError | None:
        """As `close`, for a loop that has other runs to carry on meanwhile."""
        await self.journal.closed()
        return self._lost()

    def _lost(self) -> JournalError | None:
        if self.failure is not None:
            return None
        self.failure = self.journal.failure
        return self.failure

    @property
    def run_id(self) -> str:
        return self.journal.run_id

    @property
    def path(self) -> Path:
        return self.journal.path

    @property
    def goes_on(self) -> bool:
        """Whether an earlier process carried the run, too."""
        return self.history is not None

    def flush(self) -> None:
        """Waits until all that was told so far is written."""
        self.journal.flush()

    @property
    def finished(self) -> int:
        """How many operations of the program as it is now earlier processes finished."""
        return len(self.history.results) if self.history else 0

    @property
    def answered(self) -> list[str]:
        """The paths of all operations that earlier processes finished, also of the program as it was before."""
        history = self.history
        return [] if history is None else [result.path for result in (*history.results.values(), *history.spare)]

    @property
    def unknown(self) -> list[str]:
        """The paths of the operations with an outside effect that began, and of which the journal has no result."""
        return sorted(self._began)

    @property
    def spent(self) -> Cost:
        """What earlier processes used up; attempts of which nobody knows the end count with all that was reserved."""
        if self.history is None:
            return Cost()
        rows = [*self.history.settled, *self.history.unsettled]
        return Cost(sum(row.tokens for row in rows), sum(money(row.cost or 0.0) for row in rows))

    def as_changed(self) -> None:
        """The code that goes on may be another one: the answers so far count for whatever makes the same request.
        Called before `start`."""
        history = self.history
        if history is not None and self._edited is None:
            self._edited = same_program(history.header)
            history.add(TimedRow(time(), self._edited))

    def start(self, failed: Callable[[], object], abort: FailureHandler) -> None:
        """Called on the loop of the run. `failed` is called there when the journal cannot be written any more, `abort`
        with what is raised by whoever is told that something is safe."""

        def on_failure(error: JournalError) -> None:
            self.failure = error
            failed()

        self._abort = abort
        self.journal.start(on_failure)
        if self.history is not None:
            self.journal.append(Resumed(self._apxm))
        if self._edited is not None:
            self.journal.append(self._edited)

    def recorded(self, path: str, request: object, name: str, variant: str | None) -> Answered | None:
        """The answer that an earlier process got, as `Find` has it. Raises `JournalError` where it is one to another
        request."""
        if self.history is None:
            return None
        result = self._find(self.history.spare, path, request, name, variant)
        if result is not None and path not in self.history.results:
            # What is made from it comes behind it: the next process must find this answer here, and no other.
            self.journal.append(replace(result, path=path))
        return result

    def preview(self) -> Find:
        """A function that finds what `recorded` would, and leaves the journal, and everything to be found, as it is."""
        spare = Answers() if self.history is None else self.history.spare.copy()

        def find(path: str, request: object, name: str, variant: str | None) -> Answered | None:
            return self._find(spare, path, request, name, variant)

        return find

    def _find(self, spare: Answers, path: str, request: object, name: str, variant: str | None) -> Answered | None:
        result = None if self.history is None else self.history.results.get(path)
        if result is None and not spare:
            return None
        digest = request_digest(request, name, variant)
        if result is None:
            return spare.take(path, digest)
        if result.digest != digest:
            raise JournalError(
                f"the journal has an answer to {path}, but to another request",
                where=printable(str(self.journal.path)),
                hint=f"the backend, its model{_files(request)} or an answer before it was another one then; "
                "--edited asks again what would be another request now",
            )
        return result

    def received(self, path: str, call: Call, value: Value, usage: Usage, then: Then, urgent: bool) -> None:
        """The answer to a call; `urgent` as for `Journal.append`."""
        name, variant = call.provider.name, call.provider.variant(call.original)
        digest = request_digest(call.original, name, variant)
        row = Answered(path, digest, value, name, usage.input_tokens, usage.output_tokens, variant)
        self._began.discard(path)
        self._append(row, then, urgent)

    def discarded(self, path: str, call: Call, usage: Usage, error: OperationError) -> None:
        """The running attempt of a call was answered, and the answer is of no use."""
        name, variant = call.provider.name, call.provider.variant(call.request)
        row = Discarded(
            path, len(call.earlier), as_utf8(error.message), name, usage.input_tokens, usage.output_tokens, variant
        )
        self._append(row)

    def started(self, path: str, call: Call, then: Then, urgent: bool) -> None:
        """A call with an outside effect is about to begin. Its key is the same for every attempt and process."""
        digest = request_digest(call.original, call.provider.name, call.provider.variant(call.original))
        self._began.add(path)
        self._append(Started(path, digest, f"{self.run_id}/{path}"), then, urgent)

    def kept(self, path: str, request: object, name: str, value: Value) -> None:
        """What came of something that a run did itself, and that is not to be done again; `recorded` finds it."""
        self._append(Answered(path, request_digest(request, name, None), value, name))

    def begun(self, path: str, request: object, name: str, then: Then) -> None:
        """As `started`, of something that a run is about to do itself."""
        self._append(Started(path, request_digest(request, name, None), f"{self.run_id}/{path}"), then, True)

    def printed(self, number: int, line: str) -> None:
        if self.history is None or number not in self.history.printed:
            self.journal.append(Printed(number, line))

    def reserved(self, path: str, call: Call, then: Then | None, urgent: bool) -> None:
        """The most that the next attempt of a call can cost."""
        worst = call.worst
        self._append(Reserved(path, len(call.earlier), worst.tokens, as_amount(worst.money)), then, urgent)

    def settled(self, path: str, call: Call, actual: Cost) -> None:
        """What the running attempt of a call did cost."""
        self._append(Settled(path, len(call.earlier), actual.tokens, as_amount(actual.money)))

    def ended(self, trace: Trace) -> None:
        """The run is over, or another process goes on with it."""
        self.journal.append(Traced(packed(trace)))
        message = trace.failures[0].message if trace.failures else ""
        if trace.stopped is not None:
            message = trace.stopped.message
        self.journal.append(Ended(trace.status.value, as_utf8(message)))  # whose words they are is not known

    def _append(self, row: Row, then: Then | None = None, urgent: bool = False) -> None:
        self.journal.append(row, None if then is None else partial(enter, then, self._abort), urgent=urgent)


def _files(request: object) -> str:
    """The files that a request sends, in words."""
    attachments: tuple[Attachment, ...] = getattr(request, "attachments", ())
    return "".join(f", the file {printable(each.name)}" for each in attachments if each.name)


def request_digest(request: object, name: str, variant: str | None) -> bytes:
    """Equal for equal requests to one variant of one provider, over all versions and processes."""
    # Without what is left at its default: a field that a later version adds changes no digest.
    return blake2b(_encode((name, variant, request)), digest_size=16).digest()
