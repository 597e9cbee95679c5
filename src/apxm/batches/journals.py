"""The journals of a batch's runs, in a folder beside its output: what an input had been answered when its process ended
is not asked again.

Which run is whose stands in a list, a line for each that was begun. An input that has its line in the output needs its
run no more, and all of them go when every input has one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

from apxm.batches.index import Index
from apxm.batches.output import Output
from apxm.config.files import make_folder
from apxm.config.invocation import Invocation
from apxm.config.journal_settings import Journaling
from apxm.errors import UsageError
from apxm.journaling import JournaledRun, reopen
from apxm.program.program import Kind
from apxm.session import Session
from apxm.writing import write_all

BESIDE = ".runs"
"""What the name of the folder ends with, behind that of the output."""
_INPUT = "input"
"""By which name the journal of a run has the id of its input."""


class Journals:
    """Of a batch whose output this process alone writes."""

    def __init__(self, output: Output, index: Index, anew: Container[str]) -> None:
        """Notes the runs that there are in the index; those of inputs that are to begin `anew` count for nothing.
        Raises `ConfigurationError` where there can be no journals."""
        self._folder = Path(output.target + BESIDE)
        own = make_folder(self._folder / output.batch_id, "the journals of the batch cannot be kept", 0o700)
        for other in self._folder.iterdir():
            if other != own:  # of a batch that had this output before
                shutil.rmtree(other, ignore_errors=True)
        self._journals = own / "journals"
        self._index = index
        self._list = os.open(own / "inputs", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        line = b"\n"
        with open(self._list, "rb", closefd=False) as file:
            for line in file:
                run_id, _, id = line.decode(errors="replace").rstrip("\n").partition(" ")
                if id not in anew:
                    index.begun(id, run_id)
        if not line.endswith(b"\n"):  # its writer was killed, and the run has not begun
            write_all(self._list, b"\n")

    def close(self, *, remove: bool) -> None:
        """`remove` says that nothing is left to go on with."""
        os.close(self._list)
        if remove:
            shutil.rmtree(self._folder, ignore_errors=True)

    def told(self, told: Invocation) -> Invocation:
        """The same, with these journals."""
        return replace(told, journaling=replace(told.journaling, journal=True, journal_dir=self._journals))

    def _earlier(self, id: str, kinds: tuple[Kind, ...]) -> JournaledRun | None:
        """The run that was begun for an input; None where there is none. Raises `JournalError` where it cannot go on,
        as where nobody knows what became of an outside effect."""
        run_id = self._index.run_of(id)
        if run_id is None:
            return None
        try:
            found = reopen(run_id, Journaling(journal_dir=self._journals), as_recorded=kinds != ("flow",), kinds=kinds)
        except UsageError:  # it never came to a journal
            return None
        if found.noted.get(_INPUT) != id:
            found.recorder.close()
            return None
        return found

    def open(self, session: Session, id: str, kinds: tuple[Kind, ...]) -> JournaledRun | None:
        """Gives a session its journal: that of the run of one of `kinds` that was begun for the input, which is
        returned, else a new one. Raises `JournalError` where that run cannot go on."""
        earlier = self._earlier(id, kinds)
        if earlier is not None:
            session.recorder, session.run_id = earlier.recorder, earlier.recorder.run_id
            return earlier
        write_all(self._list, f"{session.run_id} {id}\n".encode())
        session.noted = {**session.noted, _INPUT: id}
        session.open_journal(session.told.options.warn or (lambda _: None))
        return None
