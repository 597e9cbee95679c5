"""The journals of a batch's runs, in a folder beside its output: what an input had been answered when the process ended
is not asked again.

Which run is whose stands in a list, a line for each that was begun. An input that has its line in the output needs its
run no more, but where it failed. So runs lie in folders of a thousand: one in which nobody needs any goes at once, and
to find one takes the same time however many there were.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from apxm.batches.index import Index
from apxm.batches.output import Output
from apxm.config.files import make_folder
from apxm.config.invocation import Invocation
from apxm.config.journal_settings import Journaling
from apxm.errors import ApxmError, UsageError
from apxm.journal.store import store_of
from apxm.journaling import JournaledRun, reopen
from apxm.operations.types import Value
from apxm.program.program import Kind
from apxm.session import Session
from apxm.source import printable
from apxm.writing import write_all

BESIDE = ".runs"
"""What the name of the folder ends with, behind that of the output."""
_TOGETHER = 1000
"""Runs in one folder."""
INPUT = "input"
"""By which name the journal of a run has the id of its input."""


def journaled(told: Invocation) -> Invocation:
    """The same, with a journal."""
    return replace(told, journaling=replace(told.journaling, journal=True))


class RunJournals(Protocol):
    """Who gives the runs of a batch their journals."""

    def open(self, session: Session, id: str, kinds: tuple[Kind, ...]) -> Mapping[str, Value] | None:
        """Gives a session its journal: that of the run that was begun for the input, else a new one. Gives what the
        process noted that began it; None of a new one. Raises `JournalError` where that run cannot go on."""
        ...


class Journals:
    """Of a batch whose output this process alone writes."""

    def __init__(self, output: Output, index: Index, anew: Container[str]) -> None:
        """Notes the runs that there are in the index; those of inputs that are to begin `anew` count for nothing.
        Raises `ConfigurationError` where there can be no journals."""
        self._all = Path(output.target + BESIDE)
        self._folder = make_folder(self._all / output.batch_id, "the journals of the batch cannot be kept", 0o700)
        for other in self._all.iterdir():
            if other != self._folder:  # of a batch that had this output before
                shutil.rmtree(other, ignore_errors=True)
        self._index = index
        self._part = -1
        """The folder that new runs are in."""
        self._begun = 0
        """How many are in there."""
        self._needed: dict[int, int] = {}
        """How many runs of each folder are of inputs without a line, or that failed."""
        self._open: dict[str, int] = {}
        """The folder of each input that is open, by its id."""
        self._list = os.open(self._folder / "inputs", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        line = b"\n"
        with open(self._list, "rb", closefd=False) as file:
            for line in file:
                part, _, rest = line.decode(errors="replace").rstrip("\n").partition(" ")
                run_id, _, id = rest.partition(" ")
                if part.isdecimal() and id not in anew:
                    index.begun(id, int(part), run_id)
                    self._part = max(self._part, int(part))
        if not line.endswith(b"\n"):  # its writer was killed, and the run has not begun
            self._note("\n")
        self._next_part()

    def close(self, *, remove: bool) -> None:
        """`remove` says that nothing is left to go on with."""
        os.close(self._list)
        if remove:
            shutil.rmtree(self._all, ignore_errors=True)

    def open(self, session: Session, id: str, kinds: tuple[Kind, ...]) -> Mapping[str, Value] | None:
        """As `RunJournals.open`: goes on with the run of one of `kinds` that was begun for the input."""
        earlier = self.earlier(id, kinds)
        if earlier is not None:
            session.recorder, session.run_id = earlier.recorder, earlier.recorder.run_id
            return earlier.noted
        session.told = replace(session.told, journaling=self.begun(id, session.run_id))
        session.noted = {**session.noted, INPUT: id}
        session.open_journal(session.told.options.warn or (lambda _: None))
        return None

    def begun(self, id: str, run_id: str) -> Journaling:
        """Notes that a run begins for the input, and says where its journal is to be."""
        if self._begun == _TOGETHER:
            self._next_part()
        self._begun += 1
        self._needed[self._part] += 1
        self._open[id] = self._part
        self._note(f"{self._part} {run_id} {id}\n")
        self._index.begun(id, self._part, run_id)  # its worker may be lost
        return self._journaling(self._part)

    def saved(self, id: str, *, failed: bool) -> None:
        """The line of an input is on the disk."""
        part = self._open.pop(id, None)
        if part is not None and not failed:
            self._needed[part] -= 1
            self._remove_unneeded(part)

    def _note(self, line: str) -> None:
        try:
            write_all(self._list, line.encode())
        except OSError as error:
            raise ApxmError(f"cannot write {printable(str(self._folder / 'inputs'))}: {error.strerror}") from None

    def _next_part(self) -> None:
        before, self._part, self._begun = self._part, self._part + 1, 0
        self._needed[self._part] = 0
        if before in self._needed:
            self._remove_unneeded(before)

    def _remove_unneeded(self, part: int) -> None:
        if part != self._part and not self._needed[part]:
            del self._needed[part]
            folder = self._folder / f"{part}"
            store_of(folder).rest()
            shutil.rmtree(folder, ignore_errors=True)

    def _journaling(self, part: int) -> Journaling:
        return Journaling(journal=True, journal_dir=self._folder / f"{part}")

    def earlier(self, id: str, kinds: tuple[Kind, ...]) -> JournaledRun | None:
        """The run that was begun for an input; None where there is none. Raises `JournalError` where it cannot go on,
        as where nobody knows what became of an outside effect."""
        begun = self._index.run_of(id)
        if begun is None:
            return None
        part, run_id = begun
        try:
            found = reopen(run_id, self._journaling(part), as_recorded=kinds != ("flow",), kinds=kinds)
        except UsageError:  # it never came to a journal
            return None
        if found.noted.get(INPUT) != id:
            found.recorder.close()
            return None
        return found
