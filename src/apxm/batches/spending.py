"""What a batch has cost so far, over all processes that carried it: a line beside its output, and the budget that it
keeps to.

A process with a budget writes what it may have used by then before it asks, so that one that is killed has used no more
than is written. One without writes with the results what their runs used.
"""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

from apxm.batches.output import Output
from apxm.batches.tally import Tally
from apxm.errors import ApxmError, UsageError
from apxm.regular import open_regular
from apxm.runtime.budget import NOTHING, Cost, as_amount, money
from apxm.runtime.shared_budget import SharedBudget
from apxm.source import printable

BESIDE = ".spent"
"""What the name of the file ends with, behind that of the output."""
_BYTES = 200
"""Of its line: it is written over, and never longer, so that it is whole on a full disk, and after a kill."""
_STEPS = 100
"""In so many steps a budget is written down ahead."""


class _Line(Struct):
    batch: str
    tokens: int
    cost: float


class Spending:
    """What the batch has used, and writes down as it goes on. The file is of the process that has the output."""

    def __init__(self, output: Output, tally: Tally, budget: BatchBudget | None) -> None:
        """Raises `UsageError` where the file is none of this kind, or cannot be written."""
        self._path = output.target + BESIDE
        self._batch = output.batch_id
        self._tally = tally
        self._budget = budget
        try:
            self._descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UsageError(self._refusal(error)) from None
        try:
            self._before = self._read()
            if budget is not None:
                budget.keep(self, self._before)
            self.write(self._before)
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Nothing is in flight any more."""
        try:
            self.write(self.used, wait=True)
        finally:
            os.close(self._descriptor)

    @property
    def used(self) -> Cost:
        """By all processes, as far as is known."""
        return self._before + self._tally.used if self._budget is None else self._budget.spent

    def written(self) -> None:
        """Results are on the disk. In a thread."""
        if self._budget is None:
            self.write(self.used)
        else:
            self._budget.written()

    def write(self, used: Cost, *, wait: bool = False) -> None:
        """`wait` is for what must outlive a power cut."""
        line = msgspec.json.encode(_Line(self._batch, used.tokens, as_amount(used.money)))
        try:
            os.pwrite(self._descriptor, line.ljust(_BYTES - 1) + b"\n", 0)
            if wait:
                getattr(os, "fdatasync", os.fsync)(self._descriptor)
        except OSError as error:
            raise ApxmError(self._refusal(error)) from None

    def _read(self) -> Cost:
        """What earlier processes used; nothing, where the output was another batch's."""
        content = os.pread(self._descriptor, _BYTES + 1, 0)
        if not content:
            return NOTHING
        try:
            found = msgspec.json.decode(content, type=_Line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            hint = "take it away, and the budget begins anew"
            where = printable(self._path)
            raise UsageError("this does not say what a batch has cost", where=where, hint=hint) from None
        return Cost(found.tokens, money(found.cost)) if found.batch == self._batch else NOTHING

    def _refusal(self, error: OSError) -> str:
        return f"cannot write {printable(self._path)}: {error.strerror or error}"


class BatchBudget(SharedBudget):
    """The budget of a batch, which counts what earlier processes used once it is told where that is kept."""

    _kept: Spending | None = None

    def keep(self, spending: Spending, before: Cost) -> None:
        self._kept = spending
        self.spent = self._noted = before

    def reserve(self, worst: Cost) -> bool:
        with self._lock:
            if not super().reserve(worst):
                return False
            used = self.spent + self.reserved
            if self._kept is not None and (used.tokens > self._noted.tokens or used.money > self._noted.money):
                self._note(self._kept, wait=True)
            return True

    def written(self) -> None:
        """Results are on the disk: what was reserved for them is not used any more."""
        with self._lock:
            if self._kept is not None:
                self._note(self._kept)

    def _note(self, kept: Spending, *, wait: bool = False) -> None:
        used = self.spent + self.reserved
        self._noted = Cost(_ahead(used.tokens, self.max_tokens), _ahead(used.money, self.max_money))
        kept.write(self._noted, wait=wait)


def _ahead(used: int, most: int | None) -> int:
    """What may be used soon, in all."""
    return used if most is None else max(used, min(most, used + most // _STEPS))
