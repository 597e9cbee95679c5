"""Who owns a run: the process that holds an exclusive `flock` on its lock file.

The system lets go of it when the process ends, however it ends; a pid in a file would outlive it, and be given to
another process. The lock has a file of its own because closing any other descriptor of a database ends SQLite's locks.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep
from types import ModuleType

from apxm.errors import JournalBusyError, JournalError
from apxm.forks import tell_of_forks
from apxm.journal.folder import unusable
from apxm.regular import NotRegularError, open_regular
from apxm.source import printable

_TRIES = 20
_PAUSE_S = 0.005
"""Who only looks whether a run is owned holds its lock for some microseconds: that is no reason to be refused."""


class RunLock:
    """The lock of a run, held from here until `release`.

    Raises `JournalBusyError` where another one holds it, `JournalError` where there can be none.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self._path = path
        self._made = not path.exists()
        try:
            self._descriptor = _locked(path, run_id)
        except NotRegularError as error:
            raise JournalError(f"the run cannot be locked: {error.strerror}", where=printable(str(path))) from None
        except OSError as error:
            raise unusable(path.parent, error) from None
        self._held = True
        tell_of_forks(self)

    def forked(self) -> None:
        # The lock is the parent's, and would be held until the last process that has it open ends.
        self.release()

    def release(self) -> None:
        if self._held:
            self._held = False
            os.close(self._descriptor)

    def give_up(self) -> None:
        """Leaves the folder as it was."""
        if self._made:
            self._path.unlink(missing_ok=True)
        self.release()


def is_held(path: Path) -> bool:
    """Whether a process owns the run with this lock file."""
    locks = _locks()
    try:
        descriptor = open_regular(path)
    except OSError:
        return False
    try:
        # Shared, so that two who look do not take each other for the owner.
        locks.flock(descriptor, locks.LOCK_SH | locks.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _locked(path: Path, run_id: str) -> int:
    """The descriptor of the lock file that is there, with its lock. Raises `JournalBusyError` and `OSError`."""
    while True:
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            if not _take(descriptor):
                raise JournalBusyError(run_id)
            # `prune` may have removed the file between the two: then its lock guards nothing.
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    locks = _locks()
    for _ in range(_TRIES):
        try:
            locks.flock(descriptor, locks.LOCK_EX | locks.LOCK_NB)
        except BlockingIOError:
            sleep(_PAUSE_S)
        else:
            return True
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _locks() -> ModuleType:
    try:
        import fcntl
    except ImportError:  # Windows
        raise JournalError("this system has no file locks (flock), which journals need") from None
    return fcntl
